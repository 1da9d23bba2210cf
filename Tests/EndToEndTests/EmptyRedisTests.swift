import Common
import Glibc
import TestSupport
import Testing

/// A Redis without persistence that restarts empty.
@Suite struct EmptyRedisTests {
    private static func connect(_ broker: TestBroker, _ loop: EventLoop, _ device: String) throws -> (TestClient, UInt8)
    {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        return (client, try client.connect(clientIdentifier: device, userName: "u", password: "secret").returnCode)
    }

    private static func isAlive(_ client: TestClient) throws -> Bool {
        client.send(.pingreq)
        return try client.next("PINGRESP") == .pingresp
    }

    @Test(arguments: [false, true]) func `the fleet stays until somebody confirms`(_ restartsWorker: Bool) throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        for device in ["live", "away"] { try broker.provision(device, password: "secret") }
        try broker.authWorkers[0].waitForLog("changes of rows are told by Redis")
        let (live, code) = try Self.connect(broker, loop, "live")
        #expect(code == 0)
        let (away, _) = try Self.connect(broker, loop, "away")
        away.cut()

        broker.stopRedis()
        if restartsWorker { try broker.restartAuthWorker() }
        _ = try runProcess("rm", arguments: ["-rf", broker.directory.file("appendonlydir")])
        try broker.startRedis()
        #expect(try broker.redisCommand("DBSIZE").hasPrefix("0"))
        let worker = broker.authWorkers[0]
        try worker.waitForLog("Redis has lost rows of known devices")
        let (again, returned) = try Self.connect(broker, loop, "away")
        #expect(returned == 0)
        #expect(try Self.isAlive(live) && Self.isAlive(again))
        #expect(try broker.status(of: "authworker").contains("alarm"))

        let martlet = try TestBroker.executable("martlet")
        let arguments = ["auth", "confirm-mass-revoke", "--config", broker.directory.file("martlet.yaml")]
        let (status, output) = try runProcess(martlet, arguments: arguments)
        #expect(status == 0, "\(output)")
        for client in [live, again] {
            guard case .disconnect(let packet) = try client.next("DISCONNECT") else {
                Issue.record("the packet is no DISCONNECT")
                return
            }
            #expect(packet.reasonCode == .notAuthorized)
        }
        #expect(try Self.connect(broker, loop, "away").1 == 0x87)
    }

    @Test func `the rows' return ends the alarm`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("live", password: "secret")
        try broker.authWorkers[0].waitForLog("changes of rows are told by Redis")
        let (live, _) = try Self.connect(broker, loop, "live")
        _ = try broker.redisCommand("FLUSHALL")
        let worker = broker.authWorkers[0]
        try worker.waitForLog("Redis has lost rows of known devices")
        #expect(try Self.isAlive(live))
        try broker.provision("live", password: "secret")
        try worker.waitForLog("rows decide again")
        #expect(try Self.isAlive(live))
        _ = try broker.redisCommand("DEL", "tls_domain:live")
        guard case .disconnect = try live.next("DISCONNECT") else {
            Issue.record("the packet is no DISCONNECT")
            return
        }
    }
}
