import Common
import SQLite
import TestSupport
import Testing

/// A router that can read its store and not write to it, for somebody else has it locked: as on a full disk, and no file system is needed
/// for it.
@Suite struct UnwritableStoreTests {
    /// It is the first commit of the new router that fails: nobody knows yet when the SUBACK begins to wait for it.
    @Test func `after kill -9 a SUBACK does not wait for a store that cannot be written`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.restartRouter()
        let store = try Database(
            path: broker.directory.file("state/router/store.db"),
            access: .readWrite,
            busyTimeoutMilliseconds: 10_000
        )
        try store.execute("BEGIN IMMEDIATE")
        let newcomer = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        #expect(try newcomer.connect(clientIdentifier: "newcomer", cleanStart: true).returnCode == 0)
        #expect(try newcomer.subscribe("live", qos: .atMostOnce) == [0])
        newcomer.publish("live", Array("here".utf8))
        #expect(try newcomer.nextMessage("QoS 0").payload == Array("here".utf8))
        #expect(try broker.figure("alarm_store", of: "router") == 1)
        newcomer.publish("live", Array("refused".utf8), qos: .atLeastOnce, packetIdentifier: 9)
        guard case .puback(let refusal) = try newcomer.next("a refusal") else {
            Issue.record("no PUBACK")
            return
        }
        #expect(refusal.reasonCode == .quotaExceeded)
        try store.execute("ROLLBACK")
        try loop.wait("the alarm's end", seconds: 60) { (try? broker.figure("alarm_store", of: "router")) == 0 }
    }
}
