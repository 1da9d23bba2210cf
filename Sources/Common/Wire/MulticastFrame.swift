/// Router to listener: one encoded PUBLISH and the sessions it goes to. The listener writes each session's packet id over the
/// two bytes at `packetIdentifierOffset` and appends the packet to the connection's output. It counts against the credit of
/// each of the sessions, and of the link once for each.
///
/// ```
///  | packetIdentifierOffset UInt32 (0: QoS 0) | count UInt32 | count × (handle UInt64, packet id UInt16) | PUBLISH |
/// ```
package struct MulticastFrame {
    package static let entryBytes = 10
    /// Bytes before the entries.
    package static let prefixBytes = 8

    package let packetIdentifierOffset: Int
    package let count: Int
    package let packet: UnsafeRawBufferPointer
    @usableFromInline let entries: UnsafeRawBufferPointer

    /// Nil when the body is broken.
    @inlinable package init?(_ body: UnsafeRawBufferPointer) {
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

    @inlinable package func handle(at index: Int) -> UInt64 {
        UInt64(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes, as: UInt64.self))
    }

    @inlinable package func packetIdentifier(at index: Int) -> UInt16 {
        UInt16(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes + 8, as: UInt16.self))
    }
}

/// `deliveryCredit` (listener to router) and `publishCredit` (router to listener): the receiver may send that many more
/// PUBLISH bytes.
///
/// ```
///  | link UInt32 | count × (handle UInt64, bytes UInt32) |
/// ```
package struct CreditFrame {
    package static let entryBytes = 12
    /// More entries than this go into another frame.
    package static let entriesMax = 4096

    package let linkBytes: UInt32
    package let count: Int
    @usableFromInline let entries: UnsafeRawBufferPointer

    /// Nil when the body is broken.
    @inlinable package init?(_ body: UnsafeRawBufferPointer) {
        var reader = ByteReader(body)
        guard let linkBytes = reader.readLittleEndian(UInt32.self), reader.remaining % Self.entryBytes == 0 else {
            return nil
        }
        self.linkBytes = linkBytes
        self.entries = reader.readRest()
        self.count = self.entries.count / Self.entryBytes
    }

    @inlinable package func handle(at index: Int) -> UInt64 {
        UInt64(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes, as: UInt64.self))
    }

    @inlinable package func bytes(at index: Int) -> UInt32 {
        UInt32(littleEndian: self.entries.loadUnaligned(fromByteOffset: index * Self.entryBytes + 8, as: UInt32.self))
    }

    /// - Parameter kind: `deliveryCredit` or `publishCredit`.
    package static func encode(
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
