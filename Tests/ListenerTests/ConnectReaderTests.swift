import Common
import TestSupport
import Testing

@testable import Listener

@Suite struct ConnectReaderTests {
    private func read(_ bytes: [UInt8]) -> ConnectReader.Result {
        bytes.withUnsafeBytes { ConnectReader.read($0) }
    }

    /// Reason, code and version of a refusal.
    private func refusal(_ bytes: [UInt8]) -> (RefusalReason, ReasonCode, ProtocolVersion?)? {
        guard case .refuse(let reason, let code, let version, _) = self.read(bytes) else { return nil }
        return (reason, code, version)
    }

    /// A CONNECT with this name, level, connect flags and client id.
    private func connect(_ name: String, _ level: UInt8, flags: UInt8 = 2, clientID: String = "c") -> [UInt8] {
        var body: [UInt8] = [0, UInt8(name.utf8.count)] + Array(name.utf8) + [level, flags, 0, 60]
        if level & 0x7F == 5 { body.append(0) }
        body += [0, UInt8(clientID.utf8.count)] + Array(clientID.utf8)
        return [0x10, UInt8(body.count)] + body
    }

    @Test("At every prefix of a CONNECT more is waited for, then it is there", arguments: ProtocolVersion.allCases)
    func dripped(version: ProtocolVersion) {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for _ in 0..<20 {
            let packet = generator.connect(version)
            let bytes = Packet.connect(packet).bytes(version)
            for count in 0..<bytes.count where self.read(Array(bytes.prefix(count))) != .needMore {
                Issue.record("\(count) of \(bytes.count) bytes: \(self.read(Array(bytes.prefix(count)))), seed \(seed)")
            }
            #expect(self.read(bytes) == .connect(packet, bytes: bytes.count), "seed \(seed)")
            // The first PUBLISH may have come with it.
            #expect(self.read(bytes + [0x30, 0x00]) == .connect(packet, bytes: bytes.count), "seed \(seed)")
        }
    }

    @Test("Other protocols are told at their first bytes and get no answer")
    func otherProtocols() {
        let tls: [UInt8] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]
        for (bytes, detail) in [
            (Array("GET / HTTP/1.1\r\n".utf8), "the first packet is no CONNECT"),
            (Array("SSH-2.0-x\r\n".utf8), "the first packet is no CONNECT"), (tls, "a TLS handshake, but no TLS here"),
            (Array(tls.prefix(2)), "a TLS handshake, but no TLS here"),
            ([0x10, 0x40, 0x00, 0x05, 0x4D], "the protocol name is neither MQTT nor MQIsdp"),
            (Array(self.connect("MQTX", 4).prefix(9)), "the protocol name is neither MQTT nor MQIsdp"),
        ] as [([UInt8], String)] {
            let expected = ConnectReader.Result.refuse(.notMQTT, code: .protocolError, version: nil, detail: detail)
            #expect(self.read(bytes) == expected)
        }
        #expect(self.read([]) == .needMore)
        #expect(self.refusal([0x30, 0x00])?.0 == .notMQTT)
        #expect(self.refusal([0x11, 0x00])?.0 == .malformedConnect)
        #expect(self.refusal([0x10, 0x80, 0x80, 0x80, 0x80])?.0 == .malformedConnect)
    }

    @Test("A level that nobody speaks is answered in the way of 5.0")
    func levels() {
        let table: [(String, UInt8)] = [
            ("MQTT", 6), ("MQTT", 0x7F), ("MQTT", 3), ("MQTT", 0), ("MQIsdp", 2), ("MQIsdp", 4), ("MQTT", 0x85),
        ]
        for (name, level) in table {
            let refusal = self.refusal(self.connect(name, level))
            #expect(refusal?.0 == .protocolVersion, "\(name) \(level)")
            #expect(refusal?.1 == .unsupportedProtocolVersion)
            #expect(refusal?.2 == .v5_0, "\(name) \(level)")
        }
    }

    @Test("A broken CONNECT of version 5 is answered; one of 3.1.1 has no return code for it")
    func broken() {
        let five = self.refusal(self.connect("MQTT", 5, flags: 3))
        #expect(five?.0 == .malformedConnect)
        #expect(five?.1 == .malformedPacket)
        #expect(five?.2 == .v5_0)
        let four = self.refusal(self.connect("MQTT", 4, flags: 3))
        #expect(four?.0 == .malformedConnect)
        #expect(four.flatMap { answer in answer.2.flatMap { answer.1.connackReturnCode(for: $0) } } == nil)
    }

    @Test("Regression: no client id with clean session 0 gets return code 2 ([MQTT-3.1.3-8] of 3.1.1)")
    func emptyClientIdentifier() {
        for (name, level) in [("MQTT", UInt8(4)), ("MQIsdp", 3), ("MQTT", 0x84)] {
            let refusal = self.refusal(self.connect(name, level, flags: 0, clientID: ""))
            #expect(refusal?.1 == .clientIdentifierNotValid)
            #expect(refusal.flatMap { answer in answer.2.flatMap { answer.1.connackReturnCode(for: $0) } } == 2)
        }
    }

    @Test("A CONNECT above the limit is refused when its header is there")
    func tooLarge() {
        var buffer = ByteBuffer()
        buffer.write(0x10 as UInt8)
        buffer.writeVariableByteInteger(Limits.connectPacketBytesMax)
        #expect(self.refusal(buffer.array)?.0 == .connectTooLarge)
        #expect(self.refusal(buffer.array)?.2 == nil)
        var fits = ByteBuffer()
        fits.write(0x10 as UInt8)
        fits.writeVariableByteInteger(Limits.connectPacketBytesMax - 4)
        #expect(self.read(fits.array) == .needMore)
    }

    @Test("Random bytes and changed packets never crash")
    func mutations() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var generator = PacketGenerator(seed: seed)
        var connects = 0
        for _ in 0..<3000 {
            var bytes = Packet.connect(generator.connect(random.oneIn(2) ? .v5_0 : .v3_1_1)).bytes(.v5_0)
            let index = Int.random(in: 0..<bytes.count, using: &random)
            bytes[index] = UInt8.random(in: 0...255, using: &random)
            if case .connect(_, let count) = self.read(bytes) {
                connects += 1
                #expect(count <= bytes.count, "seed \(seed)")
            }
            _ = self.read([0x10] + random.bytes(Int.random(in: 0...40, using: &random)))
        }
        #expect(connects > 0, "seed \(seed)")
    }
}
