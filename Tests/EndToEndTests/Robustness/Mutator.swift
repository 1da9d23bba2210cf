import Common
import TestSupport

/// Good packets and what can go wrong with them.
struct Mutator {
    var generator: PacketGenerator
    private var earlier: [[UInt8]] = []

    init(seed: UInt64) {
        self.generator = PacketGenerator(seed: seed)
    }

    mutating func oneIn(_ count: Int) -> Bool { self.generator.random.oneIn(count) }

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self.generator.random) }

    mutating func version() -> ProtocolVersion {
        ProtocolVersion.allCases[self.number(0..<ProtocolVersion.allCases.count)]
    }

    /// A good CONNECT under one of a few names, so that connections meet each other's sessions.
    mutating func connect(_ version: ProtocolVersion, willTopic: String = "t/will") -> [UInt8] {
        var packet = ConnectPacket(
            version: version,
            cleanStart: self.oneIn(2),
            keepAliveSeconds: UInt16(self.number(0..<3)) * 30,
            clientIdentifier: Array("mutant-\(self.number(0..<40))".utf8),
            userName: Array("u".utf8),
            password: Array("secret".utf8)
        )
        if self.oneIn(3) {
            packet.will = ConnectPacket.Will(
                qos: QoS(rawValue: UInt8(self.number(0..<3))) ?? .atMostOnce,
                retain: self.oneIn(4),
                topic: Array(willTopic.utf8),
                payload: self.generator.random.bytes(self.number(0..<200))
            )
        }
        if version == .v5_0, self.oneIn(2) { packet.properties.sessionExpiryInterval = UInt32(self.number(0..<10)) }
        return Packet.connect(packet).bytes(version)
    }

    /// A packet of any type, good or broken.
    mutating func packet(_ version: ProtocolVersion) -> [UInt8] {
        let good = self.generator.packet(version).bytes(version)
        if self.earlier.count < 100 { self.earlier.append(good) } else { self.earlier[self.number(0..<100)] = good }
        return self.oneIn(4) ? good : self.broken(good)
    }

    mutating func broken(_ packet: [UInt8]) -> [UInt8] {
        var bytes = packet
        for _ in 0..<self.number(1..<4) { self.breakOnce(&bytes) }
        return bytes
    }

    private mutating func breakOnce(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else { return bytes = self.generator.random.bytes(self.number(1..<20)) }
        let place = self.number(0..<bytes.count)
        switch self.number(0..<9) {
        case 0: bytes[place] ^= 1 << UInt8(self.number(0..<8))
        case 1: bytes[place] = [0x00, 0x7F, 0x80, 0xFF, UInt8(ascii: "#"), UInt8(ascii: "+")][self.number(0..<6)]
        case 2: bytes.insert(contentsOf: self.generator.random.bytes(self.number(1..<8)), at: place)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + self.number(1..<8)))
        case 4: bytes.removeSubrange(place...)
        case 5: bytes[0] = bytes[0] & 0x0F | UInt8(self.number(0..<16)) << 4
        case 6: bytes[0] = bytes[0] & 0xF0 | UInt8(self.number(0..<16))
        case 7 where bytes.count > 1: bytes[1] = UInt8(self.number(0..<256))
        default:
            let other = self.earlier.isEmpty ? bytes : self.earlier[self.number(0..<self.earlier.count)]
            bytes = Array(bytes[..<place]) + Array(other[min(place, other.count)...])
        }
    }

    mutating func garbage() -> [UInt8] { self.generator.random.bytes(self.number(1..<300)) }
}
