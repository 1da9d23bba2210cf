import Common
import TestSupport
import Testing

@testable import Router

@Suite struct SystemTopicsTests {
    private static func harness(seconds: UInt64 = 10) -> RouterHarness {
        RouterHarness { $0.mqtt.sysIntervalNanoseconds = seconds * Nanoseconds.perSecond }
    }

    private static func values(_ client: FakeClient) -> [String: String] {
        var values: [String: String] = [:]
        for publish in client.takePublishes() {
            values[String(decoding: publish.topic, as: UTF8.self)] = String(decoding: publish.payload, as: UTF8.self)
        }
        return values
    }

    @Test func aMonitorReadsTheCustomaryTopics() {
        let harness = Self.harness()
        harness.pass(seconds: 0)
        let monitor = harness.client("monitor")
        monitor.connect()
        let device = harness.client("device")
        device.connect(clean: false, expiry: 5)
        device.subscribe("a/+", .atLeastOnce)
        for _ in 0..<6 { device.publish("a/b", "hello", .atLeastOnce) }
        device.publish("kept", "x", .atLeastOnce, retain: true)
        device.drop()
        device.publish("lost", "x")
        let away = harness.client("away")
        away.connect(clean: false, expiry: 1000)
        away.subscribe("a/+", .atLeastOnce)
        away.drop()
        monitor.publish("a/b", "waits", .atLeastOnce)
        harness.pass(seconds: 10)
        #expect(monitor.subscribe("$SYS/#") == 2)
        let values = Self.values(monitor)
        #expect(values["$SYS/broker/version"] == "Martlet \(ProgramVersion.text)")
        #expect(values["$SYS/broker/uptime"] == "10 seconds")
        #expect(values["$SYS/broker/clients/connected"] == "1")
        #expect(values["$SYS/broker/clients/disconnected"] == "1")
        #expect(values["$SYS/broker/clients/total"] == "2")
        #expect(values["$SYS/broker/clients/maximum"] == "2")
        #expect(values["$SYS/broker/clients/expired"] == "1")
        #expect(values["$SYS/broker/publish/messages/received"] == "8")
        #expect(values["$SYS/broker/publish/messages/sent"] == "6")
        #expect(values["$SYS/broker/subscriptions/count"] == "1")
        #expect(values["$SYS/broker/retained messages/count"] == "1")
        #expect(values["$SYS/broker/messages/stored"] == "2")
        // Three CONNECT, two SUBSCRIBE, eight PUBLISH; the monitor's own SUBSCRIBE came later.
        #expect(values["$SYS/broker/messages/received"] == "13")
        // Three CONNACK, two SUBACK, six PUBLISH, eight PUBACK.
        #expect(values["$SYS/broker/messages/sent"] == "19")
        // 8 in the first ten seconds: 48 a minute, of which one minus e to the minus a sixth has come in.
        #expect(values["$SYS/broker/load/publish/received/1min"] == "7.37")
        #expect(values["$SYS/broker/load/publish/received/15min"] == "0.53")
        #expect(values.keys.allSatisfy { $0.hasPrefix("$SYS/broker/") })
    }

    @Test func onlyWhatChangesIsPublishedAndNobodyGetsItUnasked() {
        let harness = Self.harness()
        harness.pass(seconds: 0)
        let monitor = harness.client("monitor")
        monitor.connect()
        let curious = harness.client("curious")
        curious.connect()
        curious.subscribe("#")
        curious.subscribe("+/broker/#")
        monitor.subscribe("$SYS/broker/+")
        monitor.subscribe("$SYS/broker/clients/#")
        monitor.takeAll()
        harness.pass(seconds: 10)
        _ = Self.values(monitor)
        harness.pass(seconds: 10)
        #expect(Self.values(monitor) == ["$SYS/broker/uptime": "20 seconds"])
        #expect(curious.takePublishes().isEmpty)
        // Neither counted nor limited with the clients' retained messages.
        #expect(harness.core.retainedCount == 0)
        #expect(harness.core.retainedBytes == 0)
    }

    @Test func zeroTurnsThemOff() {
        let harness = Self.harness(seconds: 0)
        #expect(harness.core.nextDeadline == nil)
        harness.pass(seconds: 100)
        let monitor = harness.client("monitor")
        monitor.connect()
        monitor.subscribe("$SYS/#")
        #expect(monitor.takePublishes().isEmpty)
    }

    @Test func onlyARuleThatNamesThemLetsClientsRead() {
        let harness = Self.harness()
        let everything = AccessRule(permission: .allow, actions: .all, filter: Array("#".utf8))
        let system = AccessRule(permission: .allow, actions: .subscribe, filter: Array("$SYS/#".utf8))
        for (rules, noMatch, expected) in [
            ([everything], .deny, 0x87), ([], .allow, 0x87), ([everything, system], .deny, 0),
        ] as [([AccessRule], AccessRule.Permission, UInt8)] {
            let client = harness.client("client")
            client.access = AccessRules(rules: rules, noMatch: noMatch)
            client.connect()
            #expect(client.subscribe("$SYS/broker/uptime", .atMostOnce) == expected)
            #expect(client.subscribe("$SYS/#", .atMostOnce) == expected)
            #expect(client.subscribe("$share/g/$SYS/#", .atMostOnce) == expected)
            #expect(client.subscribe("#", .atMostOnce) == (rules.isEmpty && noMatch == .deny ? 0x87 : 0))
            #expect(client.publish("$SYS/broker/uptime", "0", .atLeastOnce) == .notAuthorized)
        }
    }
}
