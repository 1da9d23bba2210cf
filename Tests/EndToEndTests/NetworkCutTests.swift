import Common
import Glibc
import TestSupport
import Testing

/// The network to Redis swallows everything, as a broken peering between two clouds does.
@Suite struct NetworkCutTests {
    private static let devices = (0..<40).map { "cut-\($0)" }

    private func connect(_ broker: TestBroker, _ device: String, password: String = "pw") throws -> (TestClient, UInt8)
    {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: EventLoop(), port: broker.tlsPort, version: .v5_0, tls: tls)
        return (client, try client.connect(clientIdentifier: "", userName: nil, password: password).returnCode)
    }

    /// All known devices connect; milliseconds from the first packet to CONNACK, sorted.
    private func connectAll(_ broker: TestBroker) throws -> [UInt64] {
        var times: [UInt64] = []
        for device in Self.devices {
            let certificate = try broker.tlsContext(try broker.pki.device(device))
            let began = Clock.monotonic()
            let client = try TestClient(loop: EventLoop(), port: broker.tlsPort, version: .v5_0, tls: certificate)
            #expect(
                try client.connect(clientIdentifier: "", userName: nil, password: "pw").returnCode == 0,
                "\(device)"
            )
            times.append((Clock.monotonic() - began) / Nanoseconds.perMillisecond)
        }
        return times.sorted()
    }

    @Test(
        "Known devices come and go while nothing reaches Redis, also after all processes were restarted; nobody else gets in",
        .enabled(if: SeparateNetwork.isAllowed)
    )
    func cut() throws {
        let place = try TemporaryDirectory("martlet-cut")
        let network = try SeparateNetwork(place)
        let broker = try TestBroker(authWorkers: 2) { text in
            text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
                guard line.hasPrefix("  redis: {url:") else { return String(line) }
                return "  redis: {url: \"\(network.redisURL)\"}\n  cache: {positive_ttl: 1s}"
            }.joined(separator: "\n")
        }
        for device in Self.devices + ["cut-new", "cut-live"] {
            _ = try network.redisCommand("HSET", "tls_domain:\(device)", "password", "pw")
        }
        _ = try self.connectAll(broker)
        let (live, code) = try self.connect(broker, "cut-live")
        #expect(code == 0)

        try network.cut()
        let times = try self.connectAll(broker)
        print(
            "network to Redis cut: \(times.count) known devices connected, each took \(times[times.count / 2]) ms in the middle,"
                + " \(times[times.count * 9 / 10]) ms at nine tenths, \(times.last ?? 0) ms at most"
        )
        #expect(try self.connect(broker, "cut-new").1 == 0x88)
        #expect(try self.connect(broker, "cut-0", password: "guess").1 != 0)
        #expect(try broker.status(of: "authworker").contains("stale"))

        for place in 0..<2 { try broker.replaceAuthWorker(place) }
        try broker.restartRouter()
        try broker.listeners[0].waitForLog("auth worker connected", count: 4)
        _ = try self.connectAll(broker)
        #expect(try self.connect(broker, "cut-new").1 == 0x88)
        live.send(.pingreq)
        #expect(try live.next("PINGRESP") == .pingresp)

        // Meanwhile two devices lose their rows, one of them with a live session.
        _ = try network.redisCommand("DEL", "tls_domain:cut-live", "tls_domain:cut-1")
        try network.mend()
        try waitUntil("a new device gets in once Redis is back") { try self.connect(broker, "cut-new").1 == 0 }
        guard case .disconnect(let packet) = try live.next("DISCONNECT") else {
            throw ProcessError(description: "the session of a device that was removed meanwhile goes on")
        }
        #expect(packet.reasonCode == .notAuthorized)
        try waitUntil("the other one is refused") { try self.connect(broker, "cut-1").1 == 0x87 }
    }
}
