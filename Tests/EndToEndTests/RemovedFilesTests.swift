import Common
import Glibc
import TestSupport
import Testing

/// A cleaner, or somebody in a hurry, removes files of a Martlet that runs.
@Suite struct RemovedFilesTests {
    /// Everything seemed to work, until a listener was restarted: nobody got in then until all others were too.
    @Test func `sockets that were removed are there again before a listener is restarted, for the tool too`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        let run = broker.directory.file("run")
        let before = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        #expect(try before.connect(clientIdentifier: "before", cleanStart: true).returnCode == 0)
        #expect(try runProcess("sh", arguments: ["-c", "rm -r \(run)/*.sock \(run)/control"]).status == 0)
        for process in broker.processes { try process.waitForLog("the socket had been removed, and is there again") }
        for role in ["router", "authworker"] {
            try waitUntil("\(role) answers the tool") { (try? broker.status(of: role)) != nil }
        }
        try broker.router.waitForLog("the socket had been removed, and is there again", count: 2)
        try broker.authWorkers[0].waitForLog("the socket had been removed, and is there again", count: 2)
        try broker.provision("after", password: "secret")
        try broker.restartListener(0)
        let device = try TestClient(
            loop: loop,
            port: broker.tlsPort,
            version: .v5_0,
            tls: try broker.tlsContext(try broker.pki.device("after"))
        )
        #expect(try device.connect(clientIdentifier: "after", userName: "after", password: "secret").returnCode == 0)
    }

    /// It went on acknowledging into files that nobody would ever read, without a word.
    @Test func `a store whose folder was removed is there again, and the next router has every message`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.parkClient(loop)
        let publisher = try broker.plainClient(loop, "publisher")
        func publish(_ number: UInt8) throws {
            publisher.publish("t", [0, number], qos: .atLeastOnce, packetIdentifier: UInt16(number))
            guard case .puback(let answer) = try publisher.next("a PUBACK") else {
                Issue.record("no PUBACK")
                return
            }
            #expect(!answer.reasonCode.isFailure)
        }
        try publish(1)
        let store = broker.directory.file("state/router")
        #expect(try runProcess("rm", arguments: ["-r", store]).status == 0)
        try broker.router.waitForLog("files of the store were removed while it was in use")
        try publish(2)
        #expect(try broker.figure("store_rewrites", of: "router") == 1)
        for file in ["store.db", "store.db.lock", "clock"] { #expect(access("\(store)/\(file)", F_OK) == 0, "\(file)") }
        try broker.restartRouter()
        try publish(3)
        #expect(try runProcess("rm", arguments: ["-r", store]).status == 0)
        broker.router.signal(SIGTERM)
        #expect(try broker.router.waitForExit() == 0)
        try broker.startRouterAgain().waitForLog(" ready")
        let reader = try broker.plainClient(loop, "parked", lasts: true)
        for number in 1...3 { #expect(try reader.nextMessage("message \(number)").payload == [0, UInt8(number)]) }
    }
}
