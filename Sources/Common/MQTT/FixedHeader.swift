/// The first two to five bytes of a packet (MQTT 5.0, section 2.1): type, flags, remaining length.
public struct FixedHeader: Equatable, Sendable {
    public enum Result: Equatable, Sendable {
        /// More bytes are needed before the header is whole.
        case needMore
        case header(FixedHeader)
        case malformed(DecodeError)
    }

    public var type: PacketType
    /// The lower four bits of the first byte.
    public var flags: UInt8
    /// Bytes of the fixed header itself.
    public var headerBytes: Int
    /// The "remaining length": bytes that follow the fixed header, at most 268,435,455.
    public var bodyBytes: Int

    @inlinable public init(type: PacketType, flags: UInt8, headerBytes: Int, bodyBytes: Int) {
        self.type = type
        self.flags = flags
        self.headerBytes = headerBytes
        self.bodyBytes = bodyBytes
    }

    @inlinable public var packetBytes: Int { self.headerBytes + self.bodyBytes }

    /// The packet identifier (MQTT 5.0, section 2.2.1) of a packet with this header; nil when it has none, or it is not among
    /// the bytes.
    ///
    /// - Parameter packet: from its first byte on; it may end early.
    @inlinable public func packetIdentifier(in packet: UnsafeRawBufferPointer) -> UInt16? {
        var offset = self.headerBytes
        if self.type == .publish {
            guard offset + 2 <= packet.count else { return nil }
            offset += 2 + Int(UInt16(packet[offset]) << 8 | UInt16(packet[offset + 1]))
        }
        guard offset + 2 <= min(packet.count, self.packetBytes) else { return nil }
        return UInt16(packet[offset]) << 8 | UInt16(packet[offset + 1])
    }
}
