import Common
import TLS
import TestSupport
import Testing

@testable import Listener

/// Connections that say nothing: whom they may keep out, and whom not.
@Suite struct ListenerAdmissionTests {
    /// A listener with TLS, and one without; nothing ends by its time limit unless the test wants it.
    private final class Setup {
        let certificates: TestCertificates
        let harness: ServiceHarness
        let tlsAddress: ListenAddress

        init(maxHandshakes: Int, _ change: (inout Configuration) -> Void = { _ in }) throws {
            _ = descriptorLimit
            let certificates = try TestCertificates()
            self.certificates = certificates
            self.harness = try ServiceHarness { configuration in
                configuration.processes.maxHandshakes = maxHandshakes
                var listener = Configuration.Listener(name: "devices")
                listener.addresses = [.loopback(port: 0)]
                listener.anonymous = true
                listener.handshakeTimeoutNanoseconds = 3600 * Nanoseconds.perSecond
                var tls = Configuration.Listener.TLS()
                tls.certificateFile = certificates.server.certificate
                tls.keyFile = certificates.server.key
                tls.clientCAFile = certificates.caFile
                listener.tls = tls
                configuration.listeners.append(listener)
                change(&configuration)
            }
            self.tlsAddress = self.harness.service.boundAddresses[1]
        }

        var admission: HandshakeAdmission { self.harness.service.admission }

        func silent(from source: UInt8, count: Int = 1) throws -> [TCPClient] {
            var clients: [TCPClient] = []
            for _ in 0..<count {
                clients.append(try TCPClient(self.tlsAddress, source: source))
                // The kernel's queue does not hold them all.
                if clients.count % 32 == 0 { try self.harness.loop.turn(maximumWaitNanoseconds: 0) }
            }
            let before = self.harness.service.counters.accepted
            try self.harness.loop.turnUntilQuiet()
            if self.harness.service.counters.accepted > before { try self.harness.loop.turnUntilQuiet(turns: 20) }
            return clients
        }

        private func context(_ name: String) throws -> TLSClientContext {
            try TLSClientContext(self.certificates.clientConfiguration(try self.certificates.client(name)))
        }

        /// A device that has a certificate; it is not in yet.
        func device(from source: UInt8) throws -> TestClient {
            try TestClient(
                loop: self.harness.loop,
                port: self.tlsAddress.port,
                version: .v5_0,
                tls: try self.context("device-\(source)"),
                source: source
            )
        }

        /// Clients that do not go on with the handshake that they begin.
        func stalling(from source: UInt8, count: Int = 1) throws -> [TCPClient] {
            let hello = try firstTLSMessage(try self.context("stalling"))
            let clients = try self.silent(from: source, count: count)
            for client in clients { client.send(hello) }
            return clients
        }

        func letIn(_ device: TestClient) throws {
            try self.harness.wait("the device to be in") { device.state == .connected || device.hasEnded }
            #expect(device.state == .connected)
        }

        func wait(_ what: String, _ condition: @autoclosure () -> Bool) throws {
            try self.harness.wait(what, condition)
        }
    }

    private func count(ended clients: [TCPClient]) -> Int {
        clients.count { client in
            client.read()
            return client.isEnded || client.isReset
        }
    }

    @Test("Thousands that say nothing, all from one address, keep out no device elsewhere, and nobody without TLS")
    func silentFlood() throws {
        let setup = try Setup(maxHandshakes: 4)
        let early = try setup.silent(from: 2)
        let flood = try setup.silent(from: 9, count: Limits.silentConnectionsMax + 400)
        try setup.letIn(try setup.device(from: 3))
        try setup.letIn(try setup.device(from: 9))
        _ = try setup.harness.connected("without-tls")
        #expect((Limits.silentConnectionsMax - 8...Limits.silentConnectionsMax).contains(setup.admission.silentCount))
        #expect(setup.admission.underWay == 0)
        try setup.wait("those that were too many to go", self.count(ended: flood) >= 401)
        #expect(self.count(ended: flood) < 410, "one for each that came when there were too many")
        #expect(self.count(ended: early) == 0, "it is the only one from its address")
        #expect(setup.harness.log.refusals.allSatisfy { $0["reason"] == "no-place-to-wait" })
        #expect(setup.harness.log.refusals.allSatisfy { $0["address"]?.hasPrefix("127.0.0.9:") == true })
    }

    @Test("When no more can wait for their turn, those without TLS are let in as before")
    func fullQueue() throws {
        let setup = try Setup(maxHandshakes: 1)
        let holders = try setup.stalling(from: 2, count: 10)
        try setup.wait("them to wait", setup.admission.waitingCount == 9)
        let count = Limits.waitingHandshakesMax / 3 + 5
        let clients = try [7, 8, 9].flatMap { try setup.silent(from: $0, count: count) }
        for client in clients { client.send([0x10, 0, 0, 0, 0]) }
        try setup.wait("all places to be taken", setup.admission.waitingCount >= Limits.waitingHandshakesMax)
        _ = try setup.harness.connected("without-tls")
        #expect(setup.admission.isFull())
        withExtendedLifetime(holders) {}
    }

    @Test("Handshakes that their clients do not go on with leave a quarter of the places to other addresses")
    func unansweredHandshakes() throws {
        let setup = try Setup(maxHandshakes: 4)
        let stalling = try setup.stalling(from: 9, count: 12)
        try setup.wait("them to wait", setup.admission.waitingCount == 9)
        #expect(setup.admission.underWay == 3)
        try setup.letIn(try setup.device(from: 3))
        try setup.wait("what was under way to be given up", setup.harness.service.connections.count == 7)
        #expect(setup.admission.underWay == 3)
        try setup.letIn(try setup.device(from: 4))
        #expect(self.count(ended: stalling) == 0)
    }

    @Test("Whole ClientHellos by the thousand, from an address of which nothing is known, keep out no device elsewhere")
    func helloFlood() throws {
        let setup = try Setup(maxHandshakes: 2)
        let holders = try setup.stalling(from: 2) + setup.stalling(from: 3)
        try setup.wait("them to hold both places", setup.admission.underWay == 2)
        var flood: [TCPClient] = []
        while flood.count < Limits.waitingHandshakesMax + 50 {
            flood += try setup.stalling(from: 9, count: 300)
            try setup.wait("them to wait", setup.harness.service.counters.handshakesWaited == flood.count)
        }
        let device = try setup.device(from: 4)
        try setup.wait("the device to wait", setup.harness.service.counters.handshakesWaited > flood.count)
        #expect(setup.admission.waitingCount == Limits.waitingHandshakesMax)
        let turnedAway = flood.count + 1 - Limits.waitingHandshakesMax
        #expect(setup.harness.service.counters.refused == [.noPlace: UInt64(turnedAway)])
        for holder in holders { holder.finish() }
        try setup.letIn(device)
        #expect(self.count(ended: flood) >= turnedAway)
    }

    @Test("A client has a turn of its own from its first message on, and not before all of it is there")
    func partOfAMessage() throws {
        let setup = try Setup(maxHandshakes: 1)
        let slow = try setup.silent(from: 2)[0]
        // A record of 300 bytes, then its beginning, then more.
        for part in [[22], [3, 1], [1, 44, 1, 0], [UInt8](repeating: 0, count: 200)] {
            slow.send(part)
            try setup.harness.loop.turnUntilQuiet()
            #expect(setup.admission.silentCount == 1)
            #expect(setup.admission.underWay == 0)
        }
        try setup.letIn(try setup.device(from: 3))
        slow.send([UInt8](repeating: 0, count: 98))
        try setup.wait("the answer", self.count(ended: [slow]) == 1)
        #expect(setup.harness.service.counters.refused.keys.contains { "\($0)".hasPrefix("tls-") })
        #expect(setup.admission.silentCount == 0)
    }

    @Test("What is no TLS is told so at once, and one that leaves without a word is forgotten")
    func noTLS() throws {
        let setup = try Setup(maxHandshakes: 1)
        let other = try setup.silent(from: 2)[0]
        other.send(Array("GET / HTTP/1.1".utf8))
        try setup.wait("its end", self.count(ended: [other]) == 1)
        #expect(setup.harness.log.refusals.map { $0["reason"] } == ["tls-not-tls"])
        let leaving = try setup.silent(from: 2)[0]
        #expect(setup.admission.silentCount == 1)
        leaving.finish()
        try setup.wait("its end", self.count(ended: [leaving]) == 1)
        #expect(setup.admission.silentCount == 0)
        #expect(setup.harness.log.refusals.count == 1)
    }

    @Test("One that said nothing until its time was over speaks against its address, and why tells of it")
    func silenceSpeaksAgainstTheAddress() throws {
        let setup = try Setup(maxHandshakes: 1) {
            var impatient = $0.listeners[1]
            impatient.name = "impatient"
            impatient.handshakeTimeoutNanoseconds = 100 * Nanoseconds.perMillisecond
            $0.listeners.append(impatient)
        }
        let silent = [try TCPClient(setup.harness.service.boundAddresses[2], source: 9)]
        try setup.wait("its end", self.count(ended: silent) == 1)
        #expect(setup.harness.log.refusals.map { $0["reason"] } == ["handshake-timeout"])
        let reply = setup.harness.service.perform(ControlCommand(["why", silent[0].localAddress]))
        #expect(reply?.text.contains("handshake-timeout") == true)
        let holder = try setup.stalling(from: 3)
        try setup.wait("it to have the turn", setup.admission.underWay == 1)
        for source in [9, 4] as [UInt8] { try setup.letIn(try setup.device(from: source)) }
        #expect(setup.harness.service.counters.handshakesWaitedFromRefused == 1)
        withExtendedLifetime(holder) {}
    }

    @Test("At max_connections one that has said nothing gives up its place; those that have do not")
    func silentOnesGiveUpTheirPlaces() throws {
        let setup = try Setup(maxHandshakes: 4) { $0.listeners[1].maxConnections = 3 }
        let silent = try setup.silent(from: 9, count: 3)
        var devices: [TestClient] = []
        for source in [2, 3, 4] as [UInt8] {
            let device = try setup.device(from: source)
            try setup.letIn(device)
            devices.append(device)
        }
        #expect(self.count(ended: silent) == 3)
        let tooMany = try setup.silent(from: 5)
        try setup.wait("the refusal", self.count(ended: tooMany) == 1)
        #expect(setup.harness.log.refusals.last?["reason"] == "too-many-connections")
        #expect(devices.allSatisfy { $0.state == .connected })
        devices.removeFirst().cut()
        try setup.wait("its end", setup.harness.service.connections.count == 2)
        try setup.letIn(try setup.device(from: 6))
    }

    @Test("max_connections counts what came through its own listener, with TLS and without")
    func eachListenerCountsItsOwn() throws {
        let setup = try Setup(maxHandshakes: 4) {
            $0.listeners[0].maxConnections = 2
            $0.listeners[1].maxConnections = 50
        }
        let silent = try setup.silent(from: 9, count: 20)
        var devices: [TestClient] = []
        for source in 2..<6 as Range<UInt8> {
            devices.append(try setup.device(from: source))
            try setup.letIn(devices[devices.count - 1])
        }
        let plain = (try setup.harness.connected("1"), try setup.harness.connected("2"))
        #expect(setup.harness.log.refusals.isEmpty)
        let third = try setup.harness.client()
        try setup.wait("the refusal", self.count(ended: [third]) == 1)
        #expect(setup.harness.log.refusals.map { $0["listener"] } == ["plain"])
        withExtendedLifetime((silent, plain)) {}
    }

    @Test("A process that stops lets in who has just connected")
    func stopping() throws {
        let setup = try Setup(maxHandshakes: 1) { $0.processes.drainRate = 1 }
        let held = try setup.harness.connected("held")
        let silent = try setup.silent(from: 3)
        let device = try setup.device(from: 2)
        try setup.wait("the device's turn", setup.admission.underWay == 1)
        setup.harness.service.stop()
        try setup.letIn(device)
        #expect(self.count(ended: silent) == 0)
        withExtendedLifetime(held) {}
    }
}
