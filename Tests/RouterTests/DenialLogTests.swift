import Common
import Testing

@testable import Router

/// What the rules did not allow can be traced to its client.
@Suite struct DenialLogTests {
    private let rules = AccessRules(
        rules: [AccessRule(permission: .allow, actions: .all, filter: Array("mine/#".utf8))],
        noMatch: .deny
    )

    private func client(_ name: String, _ harness: RouterHarness, commonName: String? = nil) -> FakeClient {
        let client = harness.client(name)
        client.access = self.rules
        client.commonName = commonName
        client.connect()
        return client
    }

    private func denials(_ name: String, _ harness: RouterHarness) -> [DenialLog.Denial] {
        harness.core.denials.clients(named: [Array(name.utf8)]).flatMap(\.denials)
    }

    @Test func deniedPacketsAreKeptWithTheirClient() throws {
        let harness = RouterHarness()
        let client = self.client("id-1", harness, commonName: "device-1")
        #expect(client.publish("mine/x", "yes", .atLeastOnce) == .noMatchingSubscribers)
        for _ in 0..<3 { #expect(client.publish("other/x", "no", .atLeastOnce, retain: true) == .notAuthorized) }
        #expect(client.subscribe("#") == ReasonCode.notAuthorized.rawValue)
        // By either name.
        for name in ["id-1", "device-1"] {
            let denials = self.denials(name, harness)
            #expect(denials.map { String(decoding: $0.topic, as: UTF8.self) } == ["other/x", "#"])
            #expect(denials.map(\.count) == [3, 1] && denials.map(\.action) == [.publish, .subscribe])
            #expect(denials.first?.qos == .atLeastOnce && denials.first?.retain == true)
        }
        #expect(self.denials("other", harness).isEmpty)
        let will = ConnectPacket.Will(qos: .atMostOnce, retain: false, topic: Array("other/will".utf8), payload: [])
        let dying = harness.client("dying")
        dying.access = self.rules
        dying.connect(will: will)
        dying.drop()
        #expect(self.denials("dying", harness).map(\.action) == [.will])
    }

    @Test func oneLineInAMinuteForEachClient() {
        let harness = RouterHarness()
        let client = self.client("id-1", harness)
        for _ in 0..<5 { client.publish("other/x", "no") }
        self.client("id-2", harness).publish("other/x", "no")
        let first = harness.core.takeDenialLines()
        #expect(first.map(\.client) == ["id-1", "id-2"].map { Array($0.utf8) })
        harness.pass(seconds: 30)
        client.publish("other/y", "no")
        #expect(harness.core.takeDenialLines().isEmpty)
        harness.pass(seconds: 31)
        client.publish("other/z", "no")
        let second = harness.core.takeDenialLines()
        #expect(second.map(\.notLoggedBefore) == [5])
        #expect(second.map { String(decoding: $0.denial.topic, as: UTF8.self) } == ["other/z"])
    }

    @Test func everythingOfItIsBounded() {
        let harness = RouterHarness()
        let client = self.client("id-1", harness)
        for number in 0..<100 {
            client.publish(String(repeating: "x", count: 10_000) + "/\(number % 10)", "no")
            client.publish("other/\(number)", "no")
            harness.pass(seconds: 1)
        }
        let denials = self.denials("id-1", harness)
        #expect(denials.count == DenialLog.denialsPerClient)
        #expect(denials.allSatisfy { $0.topic.count <= DenialLog.topicBytesMax })
        #expect(denials.filter(\.isCut).map(\.count) == [100])
        for _ in 0..<1000 { client.publish("other/many", "no") }
        #expect((1...100).contains(self.denials("id-1", harness).last?.count ?? 0), "in one turn they are only counted")
        for number in 0..<(DenialLog.clientsMax + 10) {
            let other = self.client("other-\(number)", harness)
            other.publish("other/x", "no")
            other.disconnect()
        }
        #expect(self.denials("id-1", harness).isEmpty, "the oldest goes")
        #expect(self.denials("other-\(DenialLog.clientsMax + 9)", harness).count == 1)
        #expect(harness.core.takeDenialLines().count <= 20)
    }
}
