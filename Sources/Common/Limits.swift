/// Bounds that are not configuration: each with its unit in the name and its reason beside it.
public enum Limits {
    /// The remaining length that four bytes can say (MQTT 5.0, section 2.1.4).
    public static let packetBodyBytesMax = 268_435_455

    /// Largest body of a frame. Packets travel in parts of at most `packetPartBytes`; a CONNECT and a multicast frame's list of
    /// sessions are the largest other bodies.
    public static let frameBodyBytesMax = 4 << 20

    /// Packets above this size travel in parts of this size, between which other sessions' frames go: 64 KiB take a listener
    /// well under a millisecond to encrypt.
    public static let packetPartBytes = 64 << 10

    /// Largest CONNECT taken: will, user name and password of 64 KiB each fit, with room for properties. It comes from clients
    /// that nobody has authenticated, so it does not follow `mqtt.max_packet_size`.
    public static let connectPacketBytesMax = 1 << 20

    /// Sessions in one multicast frame; more are split over several, so that a frame stays below `frameBodyBytesMax`.
    public static let multicastSessionsMax = 65_536

    /// Bytes waiting to be written on a link. Credit keeps it far below; a peer that lets it grow this far is not reading, and
    /// the link is closed.
    public static let linkOutputBytesMax = 512 << 20

    /// The same for frames that need no credit, on the way from the router to a listener.
    public static let linkControlBytesMax = 64 << 20

    /// Bytes waiting for the router at which a listener stops reading clients until it has caught up. The socket's buffer keeps the
    /// router busy meanwhile; what waits here only makes everybody's packets late.
    public static let linkOutputBytesHigh = 256 << 10

    /// Peers connected to a role's socket whose hello has not come; the oldest goes when there is one more.
    public static let greetingLinksMax = 64

    /// Links of a role: a host has a few listeners, and each has one.
    public static let linksMax = 256

    /// How long a peer may take for its hello.
    public static let helloNanoseconds = 5 * Nanoseconds.perSecond

    /// How long the broker itself may keep a CONNECT waiting before it says "server unavailable".
    public static let brokerWaitNanoseconds = 10 * Nanoseconds.perSecond

    /// Connections whose turn for a TLS handshake has not come, in a listener process; further ones stay in the kernel's queue.
    public static let waitingHandshakesMax = 4096

    /// TLS connections of an entry of `listeners` that have said nothing yet; when there is one more, one of an address with many goes.
    public static let silentConnectionsMax = 4096

    /// Bytes of unfinished CONNECT packets that a listener keeps for all clients together: nobody has authenticated them. Beyond it
    /// those with more than `connectBytesFree` are refused.
    public static let connectBytesInAllMax = 64 << 20

    /// A CONNECT up to this size is never refused for the bytes that others have sent.
    public static let connectBytesFree = 16 << 10

    /// Of packets that a client sent and that have no answer, kept for the next router; beyond it the client is not read.
    public static let unansweredBytesMax = 1 << 20
    public static let unansweredPacketsMax = 16_384

    /// Of what a client sends while there is no router; beyond it the client is not read.
    public static let parkedBytesMax = 64 << 10

    /// Of sessions that ended, kept until the router has stored that; beyond it the router finds out by itself.
    public static let farewellBytesMax = 64 << 20

    /// A packet on its way moves, for the keep alive, when so much of it has come: with the usual minute 3 bytes a second are enough, less
    /// than any modem has, and one byte now and then is not.
    public static let keepAlivePacketBytes = 256

    /// Bytes read from one link or client before others get their turn.
    public static let readBytesPerTurn = 1 << 20

    /// Alternative names in a frame: of a certificate with more the first of each kind are among them.
    public static let alternativeNamesMax = 64

    /// Rules of one client; more are cut off, which denies rather than allows.
    public static let accessRulesMax = 4096

    /// And their filters together, in bytes: a frame with them and a CONNECT packet stays below `frameBodyBytesMax`.
    public static let accessRuleBytesMax = 1 << 20
}
