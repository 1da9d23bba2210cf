/// Router to listener: whether the next router would know all that the session's client was told. While the disk is full it would not.
///
/// ```
///  | 1: it would not, 0: it would again UInt8 |
/// ```
///
/// A listener that finds another router closes such a session, so that its client knows. Older listeners skip the frame.
public enum SessionUnstored {
    public static func encode(_ isUnstored: Bool, into buffer: inout ByteBuffer, handle: UInt64) {
        buffer.writeFrameHeader(.sessionUnstored, handle: handle, bodyBytes: 1)
        buffer.write(UInt8(isUnstored ? 1 : 0))
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> Bool? {
        var reader = ByteReader(body)
        guard let value = reader.readUInt8(), value <= 1, reader.isAtEnd else { return nil }
        return value == 1
    }
}
