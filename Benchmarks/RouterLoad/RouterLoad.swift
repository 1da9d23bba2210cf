import Bench
import BenchmarkSupport
import Common
import Glibc

/// Drives a router over its link as a listener does, without TLS and without clients, and says how many messages a second it matched and
/// routed, and what each cost.
///
///     router-load SOCKET PID qos=0 pairs=50 receivers=1 window=64 seconds=5
@main
struct RouterLoad {
    private final class Peer: LinkDelegate {
        let driver: SessionDriver
        var isUp = false
        var failure: String?

        init(_ driver: SessionDriver) { self.driver = driver }

        func linkUp(_ link: Link, peer: LinkHello) { self.isUp = true }
        func link(_ link: Link, received frame: Frame) { self.driver.take(frame, &link.output) }
        func linkFinishedReading(_ link: Link) {}
        func linkDown(_ link: Link, reason: String) { self.failure = reason }
    }

    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard arguments.count >= 2, let socket = arguments.first, let pid = Int(arguments[arguments.startIndex + 1])
        else {
            print("router-load SOCKET PID qos=0 pairs=50 receivers=1 window=64 bytes=128 seconds=5")
            exit(2)
        }
        var values = ["qos": 0, "pairs": 50, "receivers": 1, "window": 64, "bytes": 128, "seconds": 5, "filters": 0]
        for argument in arguments.dropFirst(2) {
            let parts = argument.split(separator: "=")
            if parts.count == 2, let value = Int(parts[1]) { values[String(parts[0])] = value }
        }
        var settings = SessionDriver.Settings()
        settings.qos = QoS(rawValue: UInt8(values["qos"] ?? 0)) ?? .atMostOnce
        settings.pairs = values["pairs"] ?? 1
        settings.receivers = values["receivers"] ?? 1
        settings.window = values["window"] ?? 1
        settings.payloadBytes = values["bytes"] ?? 16
        settings.otherFilters = values["filters"] ?? 0
        try Self.run(socket, pid, SessionDriver(settings), seconds: values["seconds"] ?? 1)
    }

    private static func run(_ socket: String, _ pid: Int, _ driver: SessionDriver, seconds: Int) throws {
        let loop = try EventLoop()
        let peer = Peer(driver)
        let link = try Link(
            loop: loop,
            fileDescriptor: UnixSocket.connect(path: socket),
            peerDescription: "router",
            hello: LinkHello(
                role: .listener,
                bootID: RoleProcess.makeBootID(),
                name: Array("listener-9".utf8),
                sessionCreditBytes: 256 << 10,
                linkCreditBytes: 64 << 20
            ),
            expectedRoles: [.router],
            delegate: peer
        )
        func turn() throws {
            driver.endTurn(into: &link.output)
            link.flush()
            try loop.turn(maximumWaitNanoseconds: Nanoseconds.perSecond)
            if let failure = peer.failure { throw SystemFailure(description: failure) }
        }
        while !peer.isUp { try turn() }
        driver.open(into: &link.output)
        while !driver.isReady { try turn() }
        func load(_ nanoseconds: UInt64) throws {
            let end = Clock.monotonic() + nanoseconds
            while Clock.monotonic() < end {
                driver.publish(into: &link.output)
                try turn()
            }
        }
        // Many subscriptions take the store's thread a while.
        try load((driver.settings.otherFilters > 10_000 ? 5 : 1) * Nanoseconds.perSecond)
        let (delivered, cpu, began) = (driver.delivered, BrokerUsage.cpuSeconds(Int32(pid)), Clock.monotonic())
        try load(UInt64(seconds) * Nanoseconds.perSecond)
        let elapsed = Double(Clock.monotonic() - began) / 1e9
        let count = Double(driver.delivered - delivered)
        let used = BrokerUsage.cpuSeconds(Int32(pid)) - cpu
        print(
            "QoS \(driver.settings.qos.rawValue), \(driver.settings.pairs) publishers, \(driver.settings.receivers) receivers each: "
                + "\(Int(count / elapsed)) messages/s, \(Int(used / count * 1e9)) ns of router CPU each, "
                + "\(Int(used / elapsed * 100)) % of a core: \(Int(count / used)) messages per second of CPU"
        )
        link.close()
    }

    private struct SystemFailure: Error { var description: String }
}
