import Bench
import BenchmarkSupport
import Common
import Glibc

/// Asks an auth worker as a listener does, with a number of questions under way all the time, and says how fast it was and what it cost.
///
///     auth-load SOCKET PID devices=100000 requests=100000 window=512 first=0 [same=1]
@main
struct AuthLoad {
    private final class Driver: LinkDelegate {
        var isUp = false
        var hasFailed = false
        var answered = 0
        var allowed = 0
        var bySource: [AuthVerdict.Source: Int] = [:]

        func linkUp(_ link: Link, peer: LinkHello) { self.isUp = true }
        func link(_ link: Link, received frame: Frame) {
            guard frame.kind == .authVerdict, let verdict = AuthVerdict.decode(frame.body) else { return }
            self.answered += 1
            if verdict.outcome == .allow { self.allowed += 1 }
            self.bySource[verdict.source, default: 0] += 1
        }
        func linkFinishedReading(_ link: Link) {}
        func linkDown(_ link: Link, reason: String) { self.hasFailed = true }
    }

    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard arguments.count >= 2, let socket = arguments.first, let pid = Int(arguments[arguments.startIndex + 1])
        else {
            print("auth-load SOCKET PID devices=N requests=N window=N first=N same=0|1")
            exit(2)
        }
        var settings = ["devices": 100_000, "requests": 100_000, "window": 512, "first": 0, "same": 0]
        for argument in arguments.dropFirst(2) {
            let parts = argument.split(separator: "=")
            if parts.count == 2, let value = Int(parts[1]) { settings[String(parts[0])] = value }
        }
        try Self.run(socket, pid, settings)
    }

    private static func run(_ socket: String, _ pid: Int, _ settings: [String: Int]) throws {
        let devices = settings["devices"] ?? 1
        let requests = settings["requests"] ?? 1
        let window = settings["window"] ?? 1
        let first = settings["first"] ?? 0
        let loop = try EventLoop()
        let driver = Driver()
        let link = try Link(
            loop: loop,
            fileDescriptor: UnixSocket.connect(path: socket),
            peerDescription: "worker",
            hello: LinkHello(role: .listener, bootID: RoleProcess.makeBootID(), name: Array("listener-9".utf8)),
            expectedRoles: [.authWorker],
            delegate: driver
        )
        while !driver.isUp, !driver.hasFailed { try loop.turn(maximumWaitNanoseconds: 10 * Nanoseconds.perMillisecond) }
        let cpuBefore = BrokerUsage.cpuSeconds(Int32(pid))
        let began = Clock.monotonic()
        var asked = 0
        while driver.answered < requests, !driver.hasFailed {
            while asked < requests, asked - driver.answered < window {
                let number = settings["same"] == 1 ? first : first + asked % devices
                AuthQuery.sample(number).encode(into: &link.output, request: UInt64(asked + 1))
                asked += 1
            }
            link.flush()
            try loop.turn(maximumWaitNanoseconds: Nanoseconds.perSecond)
        }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let cpu = BrokerUsage.cpuSeconds(Int32(pid)) - cpuBefore
        let sources = driver.bySource.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
        print(
            "\(driver.answered) answers, \(driver.allowed) allowed, \(Int(Double(driver.answered) / seconds)) per second, "
                + "\(Int(cpu / Double(max(1, driver.answered)) * 1e9)) ns worker CPU each; \(sources)"
        )
        link.close()
    }
}
