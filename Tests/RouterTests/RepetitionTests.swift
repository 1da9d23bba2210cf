import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// DUP is for what was under way on an earlier connection [MQTT-3.3.1-1]; on one that lives nothing is sent again [MQTT-4.4.0-1].
@Suite struct RepetitionTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("store.db") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private func start(receiveMaximum: UInt16? = nil) throws -> (RouterHarness, FakeClient, FakeClient) {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let publisher = harness.client("publisher")
        publisher.connect()
        let device = harness.client("device", on: harness.addListener())
        device.acknowledges = false
        device.connect(clean: false, expiry: 3600, receiveMaximum: receiveMaximum)
        device.subscribe("t", .atLeastOnce)
        return (harness, publisher, device)
    }

    private func acknowledge(_ packets: [PublishPacket], _ device: FakeClient) {
        for packet in packets {
            device.send(.puback(AcknowledgementPacket(packetIdentifier: packet.packetIdentifier)))
        }
    }

    /// They came with DUP set.
    @Test(arguments: [false, true]) func whatIsAcknowledgedAsItsRouterDiesComesAsANewMessage(_ isResumed: Bool) throws {
        var (harness, publisher, device) = try self.start()
        if isResumed {
            publisher.publish("t", "before", .atLeastOnce)
            _ = device.takePublishes()
            device.drop()
            device.connect(clean: false, expiry: 3600)
            let again = device.takePublishes()
            #expect(again.map(\.dup) == [true])
            self.acknowledge(again, device)
        }
        for number in 0..<3 { publisher.publish("t", "\(number)", .atLeastOnce) }
        let first = device.takePublishes()
        #expect(first.map(\.dup) == [false, false, false])
        // With its identifiers.
        harness.core.recordForRestart()
        harness.commit()
        device.listener.isUplinkLost = true
        self.acknowledge(first, device)
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        let second = device.takePublishes()
        #expect(device.isOpen)
        #expect(second.map(\.payload) == first.map(\.payload))
        #expect(second.map(\.dup) == [false, false, false])
    }

    /// What the next router has to send again of an earlier connection is one still.
    @Test func whatIsNotSentAgainYetIsARepetitionUnderTheNextRouterToo() throws {
        var (harness, publisher, device) = try self.start(receiveMaximum: 3)
        for number in 0..<3 { publisher.publish("t", "\(number)", .atLeastOnce) }
        #expect(device.takePublishes().map(\.dup) == [false, false, false])
        device.drop()
        device.connect(clean: false, expiry: 3600, receiveMaximum: 1)
        var came = device.takePublishes()
        #expect(came.map(\.dup) == [true])
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        for _ in 0..<2 {
            self.acknowledge(came, device)
            came = device.takePublishes()
            #expect(came.map(\.dup) == [true])
        }
        self.acknowledge(came, device)
        // The connection goes on with new ones.
        let another = harness.client("another", on: harness.addListener())
        another.connect()
        another.publish("t", "3", .atLeastOnce)
        came = device.takePublishes()
        #expect(came.map(\.dup) == [false])
        harness.core.recordForRestart()
        harness.commit()
        device.listener.isUplinkLost = true
        self.acknowledge(came, device)
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        #expect(device.takePublishes().map(\.dup) == [false])
    }
}
