/// Router to listener, before `sessionAccepted` of a session that goes on: what it has in flight that the listener cannot have seen.
///
/// Without it the next router could not tell a QoS 2 message whose PUBREL never reached the client from one whose PUBCOMP did not
/// reach the last router: the listener knows no packet identifier in either case.
///
/// ```
/// packet identifiers UInt16, …
/// ```
public struct SessionResumed: Equatable, Sendable {
    /// Of QoS 2 messages that the client has, and of which it is still to get PUBREL.
    public var awaitingPubrel: [UInt16]

    public init(awaitingPubrel: [UInt16]) {
        self.awaitingPubrel = awaitingPubrel
    }

    public func encode(into buffer: inout ByteBuffer, handle: UInt64) {
        buffer.writeFrameHeader(.sessionResumed, handle: handle, bodyBytes: self.awaitingPubrel.count * 2)
        for identifier in self.awaitingPubrel { buffer.writeLittleEndian(identifier) }
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> SessionResumed? {
        guard body.count % 2 == 0 else { return nil }
        var reader = ByteReader(body)
        var resumed = SessionResumed(awaitingPubrel: [])
        while let identifier = reader.readLittleEndian(UInt16.self) { resumed.awaitingPubrel.append(identifier) }
        return resumed
    }
}
