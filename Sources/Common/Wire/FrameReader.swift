/// One frame as it lies in a receive buffer; valid while the buffer is.
public struct Frame {
    public var header: FrameHeader
    public var body: UnsafeRawBufferPointer

    @inlinable public init(header: FrameHeader, body: UnsafeRawBufferPointer) {
        self.header = header
        self.body = body
    }

    /// Nil for a kind that this version does not know.
    @inlinable public var kind: FrameKind? { FrameKind(rawValue: self.header.kind) }
    @inlinable public var handle: UInt64 { self.header.handle }
    @inlinable public var flags: UInt8 { self.header.flags }
}

/// Splits a byte stream into frames.
public enum FrameReader {
    public enum Result {
        case needMore
        case frame(Frame)
        /// The peer does not speak this protocol; the link is closed.
        case invalid(StaticString)
    }

    /// The frame that starts at `offset`.
    @inlinable public static func frame(in bytes: UnsafeRawBufferPointer, at offset: Int) -> Result {
        guard bytes.count - offset >= FrameHeader.byteCount else { return .needMore }
        let bodyBytes = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        guard bodyBytes <= Limits.frameBodyBytesMax else { return .invalid("frame body above the limit") }
        guard bytes[offset + 6] == 0, bytes[offset + 7] == 0 else { return .invalid("reserved bytes are not zero") }
        let start = offset + FrameHeader.byteCount
        guard bytes.count - start >= bodyBytes else { return .needMore }
        let header = FrameHeader(
            bodyBytes: bodyBytes,
            kind: bytes[offset + 4],
            flags: bytes[offset + 5],
            handle: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
        )
        return .frame(Frame(header: header, body: UnsafeRawBufferPointer(rebasing: bytes[start..<start + bodyBytes])))
    }
}
