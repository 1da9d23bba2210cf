import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Sessions of devices that are closed because they are trusted no more.
@Suite struct RevokedSessionTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private func start(workPerTurn: UInt64 = RouterLimits.workPerTurn) throws -> RouterHarness {
        RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false), workPerTurn: workPerTurn)
    }

    private func will(delaySeconds: UInt32) -> ConnectPacket.Will {
        var will = ConnectPacket.Will(qos: .atLeastOnce, retain: false, topic: Array("wills".utf8), payload: [0x77])
        will.properties.willDelayInterval = delaySeconds
        return will
    }

    /// A member of the group `g` whose session lasts.
    private func member(_ name: String, _ harness: RouterHarness, will: ConnectPacket.Will? = nil) -> FakeClient {
        let client = harness.client(name)
        client.connect(clean: false, expiry: 3600, will: will)
        client.subscribe("$share/g/work", .atLeastOnce)
        client.subscribe("private/\(name)", .atLeastOnce)
        return client
    }

    private func isThere(_ name: String, _ harness: RouterHarness) -> Bool {
        harness.core.sessionsByClient[Array(name.utf8)] != nil
    }

    /// The session stayed until it expired: it took every other message of its groups, and whoever came next under its name got them all.
    @Test(
        "Regression: a revoked device's session ends, and what it had of its groups goes to other members",
        arguments: [SessionCloseCause.administrative, .revoked]
    )
    func ends(cause: SessionCloseCause) throws {
        let harness = try self.start()
        let publisher = harness.client("publisher")
        publisher.connect(clean: true)
        let device = self.member("device", harness, will: self.will(delaySeconds: 600))
        device.acknowledges = false
        publisher.publish("work", "held", .atLeastOnce)
        #expect(device.takePayloads() == ["held"])
        let other = self.member("other", harness)
        other.subscribe("wills", .atLeastOnce)
        device.drop(cause, endsSession: true)
        #expect(!self.isThere("device", harness))
        // Its end is the latest moment for a will, whatever its delay [MQTT-3.1.3.2.2].
        #expect(other.takePayloads().sorted() == (cause == .revoked ? ["held"] : ["held", "w"]))
        for number in 0..<4 { publisher.publish("work", "\(number)", .atLeastOnce) }
        publisher.publish("private/device", "secret", .atLeastOnce)
        #expect(other.takePayloads() == ["0", "1", "2", "3"])
        let next = harness.client("device")
        #expect(next.connect(clean: false, expiry: 3600)?.sessionPresent == false)
        #expect(next.takePayloads() == [])
    }

    @Test("A device whose right did not end finds its session, and so does one whose listener is of an earlier release")
    func stays() throws {
        let harness = try self.start()
        for cause in SessionCloseCause.allCases {
            let device = self.member("device", harness)
            device.drop(cause)
            #expect(harness.client("device").connect(clean: false, expiry: 3600)?.sessionPresent == true, "\(cause)")
        }
    }

    @Test("A router that starts is told of it, and ends the session for good")
    func whileNoRouterRan() throws {
        var harness = try self.start()
        let device = self.member("device", harness)
        harness = try harness.replaceRouter(self.path)
        device.drop(.administrative, endsSession: true, secondsAgo: 5)
        #expect(!self.isThere("device", harness))
        harness = try harness.replaceRouter(self.path)
        #expect(!self.isThere("device", harness))
        #expect(harness.client("device").connect(clean: false, expiry: 3600)?.sessionPresent == false)
    }

    @Test("Its DISCONNECT came just before: it ends all the same")
    func afterDisconnect() throws {
        let harness = try self.start()
        let device = self.member("device", harness)
        device.send(.disconnect(DisconnectPacket(reasonCode: .success)), flushes: false)
        device.drop(.administrative, endsSession: true)
        #expect(!self.isThere("device", harness))
    }

    @Test("It does not wait behind what the device sent")
    func aheadOfWhatWaits() throws {
        let harness = try self.start(workPerTurn: 20)
        let watcher = harness.client("watcher")
        watcher.connect(clean: true)
        watcher.subscribe("#", .atLeastOnce)
        let device = self.member("device", harness)
        var bytes: [UInt8] = []
        for number in 1...20 {
            var packet = PublishPacket(qos: .atLeastOnce, topic: Array("from".utf8), payload: [])
            packet.packetIdentifier = UInt16(number)
            bytes += Packet.publish(packet).bytes(device.version)
        }
        device.send(bytes: bytes, flushes: false)
        device.drop(.administrative, endsSession: true, flushes: false)
        #expect(!self.isThere("device", harness))
        #expect(watcher.takePayloads().count < 20)
    }
}
