import Common
import TestSupport
import Testing

@testable import Listener

/// Clients that do nothing but acknowledge are read when there is something else to do.
@Suite struct ListenerPatienceTests {
    private static let acknowledgement: [UInt8] = [0x40, 2, 0, 1]

    /// A session with room for many messages, whose client has acknowledged so often that it is read patiently.
    private func patient(_ harness: ServiceHarness) throws -> (client: TCPClient, handle: UInt64) {
        let (client, handle) = try harness.connected("a", number: 1)
        for count in 1...InputPatience.readsBefore {
            #expect(harness.service.connection(handle)?.inputPatience.isPatient == false)
            try self.exchange(harness, client, handle)
            try harness.wait("PUBACK \(count)") { harness.router.packetBytes(of: handle).count == 4 * count }
        }
        #expect(harness.service.connection(handle)?.inputPatience.isPatient == true)
        harness.router.forgetFrames()
        return (client, handle)
    }

    private func exchange(_ harness: ServiceHarness, _ client: TCPClient, _ handle: UInt64) throws {
        let before = client.packets()?.count ?? 0
        harness.router.deliver(handle, harness.publish(10, qos: .atLeastOnce, packetIdentifier: 1))
        try harness.wait("the message") { client.packets()?.count == before + 1 }
        client.send(Self.acknowledgement)
    }

    @Test("Its acknowledgements go on arriving, also when nothing else happens")
    func acknowledgements() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try self.patient(harness)
        for count in 1...5 {
            try self.exchange(harness, client, handle)
            try harness.wait("PUBACK") { harness.router.packetBytes(of: handle).count == 4 * count }
        }
        #expect(harness.service.connection(handle)?.inputPatience.isPatient == true)
    }

    @Test("When it sends anything else this passes, and it is read at once again")
    func publishes() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try self.patient(harness)
        try self.exchange(harness, client, handle)
        let publish = harness.publish(20)
        client.send(publish)
        try harness.wait("the PUBLISH") {
            harness.router.packetBytes(of: handle) == Self.acknowledgement + publish
        }
        #expect(harness.service.connection(handle)?.inputPatience.isPatient == false)
    }

    @Test("When it leaves this is noticed")
    func leaves() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try self.patient(harness)
        try self.exchange(harness, client, handle)
        client.finish()
        try harness.wait("its end") { !harness.closeCauses(handle).isEmpty }
    }

    @Test("One that does not take what it is sent is no longer patient: it is waited for")
    func doesNotRead() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try self.patient(harness)
        try harness.wait("that there is no room") {
            harness.router.deliver(handle, harness.publish(60_000))
            return harness.service.connection(handle)?.needsRoom == true
        }
        #expect(harness.service.connection(handle)?.inputPatience.isPatient == false)
        try harness.wait("what waits") {
            client.read()
            return harness.service.connection(handle)?.needsRoom == false
        }
    }

    @Test("While more than half of its window is in flight it is read at once: the router waits for it")
    func windowInUse() throws {
        let harness = try ServiceHarness()
        let (client, handle) = try self.patient(harness)
        let quota = try #require(harness.service.connection(handle)?.sendQuota)
        for identifier in 1...(quota / 2 + 1) {
            harness.router.deliver(
                handle,
                harness.publish(10, qos: .atLeastOnce, packetIdentifier: UInt16(identifier))
            )
        }
        try harness.wait("them") {
            client.read()
            return harness.service.connection(handle)?.inputPatience.isPatient == false
        }
    }
}
