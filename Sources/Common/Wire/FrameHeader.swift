/// The 16 bytes before each frame's body, little-endian.
///
/// ```
///  0        4      5       6          8                16
///  | body   | kind | flags | reserved | handle         | body …
///  | UInt32 | UInt8| UInt8 | UInt16=0 | UInt64         |
/// ```
///
/// The handle names the session (or, on an auth link, the request) within the link: the listener chooses it.
public struct FrameHeader: Equatable, Sendable {
    public static let byteCount = 16

    /// Bytes that follow the header; at most `Limits.frameBodyBytesMax`.
    public var bodyBytes: Int
    /// Raw, because unknown kinds are skipped.
    public var kind: UInt8
    public var flags: UInt8
    public var handle: UInt64

    @inlinable public init(bodyBytes: Int, kind: UInt8, flags: UInt8, handle: UInt64) {
        self.bodyBytes = bodyBytes
        self.kind = kind
        self.flags = flags
        self.handle = handle
    }
}

/// Flags of `sessionPackets`, `sessionDeliver`, `sessionAccepted`, `sessionOpen`, `sessionAttach` and `sessionClosed`.
public enum FrameFlags {
    /// The body ends inside a packet: it goes on in the next frame of the same kind and handle.
    public static let packetContinues: UInt8 = 0x01
    /// `sessionDeliver`: the body counts against the session's and the link's credit.
    public static let debitsCredit: UInt8 = 0x02
    /// `sessionDeliver`, with `packetContinues`: another router can go on with the packet (`SessionAttach.Partial`).
    public static let packetIsStored: UInt8 = 0x04
    /// Each packet is a QoS 2 PUBLISH, whole in `sessionDeliver`, and comes after the 8 bytes of its `ExchangeIdentity`. In
    /// `sessionPackets` it is one that is sent again, to the next router.
    public static let hasExchanges: UInt8 = 0x08
    /// `sessionPackets`, with `hasExchanges`: the client has the PUBREC, from an earlier router.
    public static let hasPubrec: UInt8 = 0x10
    /// `sessionAccepted`: the router has the session's QoS 2 messages in memory only: its listener keeps them until PUBCOMP.
    public static let keepsExchanges: UInt8 = 0x20
    /// `sessionOpen`: the listener can have the session made anew by another router. `sessionAccepted`: it has to, for the session is not
    /// stored until something of it has to be. `sessionAttach`: a router that does not know the session makes it anew, for its client
    /// was told nothing that had to be stored.
    public static let canBeMadeAnew: UInt8 = 0x40
    /// `sessionAttach`: the packet of which the client has a part is a QoS 0 PUBLISH.
    public static let partialHasNoIdentifier: UInt8 = 0x80
    /// `sessionClosed`: the device is trusted no more, and its session ends with the connection. Routers of earlier releases do not look
    /// at it: they keep the session until it expires.
    public static let endsSession: UInt8 = 0x01
}
