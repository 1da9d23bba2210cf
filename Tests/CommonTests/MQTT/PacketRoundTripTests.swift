import Common
import TestSupport
import Testing

@Suite struct PacketRoundTripTests {
    @Test("decode(encode(packet)) is the packet, and encodes to the same bytes", arguments: ProtocolVersion.allCases)
    func roundTrip(version: ProtocolVersion) throws {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for round in 0..<3_000 {
            let packet = generator.packet(version)
            let bytes = packet.bytes(version)
            let decoded = try #require(
                try? Packet.decode(bytes, version),
                "seed \(seed), round \(round): \(packet)"
            )
            try #require(decoded == packet, "seed \(seed), round \(round)")
            try #require(decoded.bytes(version) == bytes, "seed \(seed), round \(round)")
        }
    }

    @Test("PublishView sees in every PUBLISH of a client what PublishPacket does", arguments: ProtocolVersion.allCases)
    func publishView(version: ProtocolVersion) throws {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for _ in 0..<1_000 {
            var packet = generator.publish(version)
            packet.properties.subscriptionIdentifiers = []
            let bytes = Packet.publish(packet).bytes(version)
            let view = try bytes.withUnsafeBytes { bytes in
                guard case .header(let header) = FixedHeader.decode(bytes) else {
                    throw DecodeError(.malformedPacket, "header")
                }
                return try PublishView.decode(bytes, header: header, version: version)
            }
            try #require(Array(bytes[view.topic]) == packet.topic, "seed \(seed)")
            try #require(Array(bytes[view.payload]) == packet.payload, "seed \(seed)")
            try #require(view.packetIdentifier == packet.packetIdentifier && view.qos == packet.qos, "seed \(seed)")
            try #require(view.dup == packet.dup && view.retain == packet.retain, "seed \(seed)")
            try #require(view.topicAlias == packet.properties.topicAlias ?? 0, "seed \(seed)")
            try #require(view.messageExpiryInterval == packet.properties.messageExpiryInterval, "seed \(seed)")
            // What is passed on is the properties without the two that belong to this hop.
            packet.properties.topicAlias = nil
            packet.properties.messageExpiryInterval = nil
            var expected = ByteBuffer()
            packet.properties.encode(into: &expected)
            let forwarded = bytes.withUnsafeBytes { view.forwardedProperties(of: $0) }
            var written = ByteBuffer()
            written.writeVariableByteInteger(forwarded.count)
            written.write(forwarded)
            let equal = written.array == expected.array
            try #require(equal, "seed \(seed)")
        }
    }

    @Test("No prefix of a packet is a packet", arguments: ProtocolVersion.allCases)
    func byteDrip(version: ProtocolVersion) {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for round in 0..<400 {
            let type = PacketType.allCases[round % 15]
            guard type != .auth || version == .v5_0 else { continue }
            let bytes = generator.packet(type, version).bytes(version).prefix(400)
            for count in 0..<bytes.count {
                let prefix = Array(bytes.prefix(count))
                if (try? Packet.decode(prefix, version)) != nil {
                    Issue.record("seed \(seed): \(count) bytes of \(Array(bytes)) are a packet")
                }
                // The same with a header that claims the prefix to be whole: nothing is read beyond it.
                _ = try? Packet.decode(Self.withLength(prefix), version)
            }
        }
    }

    @Test("Mutated and random packets are errors or packets, never a crash", arguments: ProtocolVersion.allCases)
    func mutations(version: ProtocolVersion) {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for round in 0..<10_000 {
            var bytes = generator.packet(version).bytes(version)
            if round.isMultiple(of: 3) {
                bytes = generator.random.bytes(Int.random(in: 0...40, using: &generator.random))
            }
            for _ in 0..<Int.random(in: 1...3, using: &generator.random) where !bytes.isEmpty {
                let index = Int.random(in: bytes.indices, using: &generator.random) % min(bytes.count, 60)
                switch Int.random(in: 0..<4, using: &generator.random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator.random)
                case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator.random)
                case 2: bytes.remove(at: index)
                default: bytes.insert(0, at: index)
                }
            }
            for candidate in [bytes, Self.withLength(bytes)] {
                guard let packet = try? Packet.decode(candidate, version) else { continue }
                let again = packet.bytes(version)
                if (try? Packet.decode(again, version)) != packet {
                    Issue.record("seed \(seed), round \(round): \(packet) changes when written and read again")
                }
            }
        }
    }

    /// The packet with its remaining length corrected.
    private static func withLength(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.count >= 2 else { return bytes }
        var lengthEnd = 1
        while lengthEnd < min(bytes.count - 1, 4), bytes[lengthEnd] >= 0x80 { lengthEnd += 1 }
        let body = bytes[(lengthEnd + 1)...]
        var buffer = ByteBuffer()
        buffer.write(bytes[0])
        buffer.writeVariableByteInteger(body.count)
        buffer.write(body)
        return buffer.array
    }
}
