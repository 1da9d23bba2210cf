/// Router to listener: one encoded PUBLISH and the sessions it goes to. The listener writes each session's packet id over the
/// two bytes at `packetIdentifierOffset` and appends the packet to the connection's output. It counts against the credit of
/// each of the sessions, and of the link once for each.
///
/// ```
///  | packetIdentifierOffset UInt32 (0: QoS 0) | count UInt32 | count × (handle UInt64, packet id UInt16) | PUBLISH |
/// ```
public struct MulticastFrame {
    public static let entryBytes = 10
    /// Bytes before the entries.
    public static let prefixBytes = 8

    public let packetIdentifierOffset: Int
    public let count: Int
    public let packet: UnsafeRawBufferPointer
    @usableFromInline let entries: UnsafeRawBufferPointer

    /// Nil when the body is broken.
    @inlinable public init?(_ body: UnsafeRawBufferPointer) {
        var reader = ByteReader(body)
        guard let offset = reader.readLittleEndian(UInt32.self),
            let count = reader.readLittleEndian(UInt32.self),
            let entries = reader.readBytes(Int(count) * Self.entryBytes)
        else { return nil }
        self.packet = reader.readRest()
        self.packetIdentifierOffset = Int(offset)
        self.count = Int(count)
        self.entries = entries
        guard offset == 0 || Int(offset) + 2 <= self.packet.count else { return nil }
    }

    @inlinable public func handle(at index: Int) -> UInt64 {
        UInt64(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes, as: UInt64.self))
    }

    @inlinable public func packetIdentifier(at index: Int) -> UInt16 {
        UInt16(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes + 8, as: UInt16.self))
    }
}

/// `deliveryCredit` (listener to router) and `publishCredit` (router to listener): the receiver may send that many more
/// PUBLISH bytes.
///
/// ```
///  | link UInt32 | count × (handle UInt64, bytes UInt32) |
/// ```
public struct CreditFrame {
    public static let entryBytes = 12
    /// More entries than this go into another frame.
    public static let entriesMax = 4096

    public let linkBytes: UInt32
    public let count: Int
    @usableFromInline let entries: UnsafeRawBufferPointer

    /// Nil when the body is broken.
    @inlinable public init?(_ body: UnsafeRawBufferPointer) {
        var reader = ByteReader(body)
        guard let linkBytes = reader.readLittleEndian(UInt32.self), reader.remaining % Self.entryBytes == 0 else {
            return nil
        }
        self.linkBytes = linkBytes
        self.entries = reader.readRest()
        self.count = self.entries.count / Self.entryBytes
    }

    @inlinable public func handle(at index: Int) -> UInt64 {
        UInt64(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes, as: UInt64.self))
    }

    @inlinable public func bytes(at index: Int) -> UInt32 {
        UInt32(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes + 8, as: UInt32.self))
    }

    /// - Parameter kind: `deliveryCredit` or `publishCredit`.
    public static func encode(
        _ kind: FrameKind,
        into buffer: inout ByteBuffer,
        linkBytes: UInt32,
        sessions: ArraySlice<(handle: UInt64, bytes: UInt32)>
    ) {
        precondition(kind == .deliveryCredit || kind == .publishCredit)
        precondition(sessions.count <= Self.entriesMax)
        buffer.writeFrameHeader(kind, handle: 0, bodyBytes: 4 + sessions.count * Self.entryBytes)
        buffer.writeLittleEndian(linkBytes)
        for session in sessions {
            buffer.writeLittleEndian(session.handle)
            buffer.writeLittleEndian(session.bytes)
        }
    }
}
