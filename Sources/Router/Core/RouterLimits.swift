import Common

/// Bounds of the router that are not configuration.
package enum RouterLimits {
    /// Connections that one listener may name: the low half of a handle counts from 0 to below this, and each place takes
    /// 16 bytes. A frame with a higher one ends the link.
    static let slotsPerLinkMax = 1 << 20

    /// Of a packet that is sent in parts, the least that a part has while the link's credit is short.
    static let packetPartBytesMin = 1024

    /// Acknowledgements held back for one session while a large packet is on its way to it; a client that makes us hold more
    /// is closed with 0x97.
    static let heldControlBytesMax = 1 << 20

    /// Different encodings of one message that are gathered into multicast frames; receivers of further ones get a frame each.
    static let fanoutShapesMax = 16

    /// Nodes of the subscription tree that one message may make us look at, about 5 ms; a message whose topic needs more is refused.
    /// Filters made of "+" and of the topic's own levels double them with each level, so topics of up to so many levels never need more.
    static let matchNodesMax = 1 << 16
    static let matchLevelsFree = 15

    /// What a level of a filter counts beside its text: it takes a node of the tree, of 24 bytes and its place.
    static let countedBytesPerLevel = 32

    /// What one session's packets may cost before others' get their turn: in nodes looked at and copies made, of which 10 take about 1 µs.
    /// What goes beyond is taken from its next turns. A publisher with one subscriber and the default credit does not come that far.
    package static let workPerTurn: UInt64 = 1 << 15
    static var workPerPacket: UInt64 { 4 }

    /// What a topic filter of a SUBSCRIBE or UNSUBSCRIBE costs on that scale, beside its bytes: to be looked at, and to be dealt with. So many
    /// are dealt with before anybody asks whether the turn is over.
    static var workPerFilterRead: UInt64 { 1 }
    static var workPerFilter: UInt64 { 8 }
    static let filtersPerSlice = 64

    /// Expired messages that are taken out of queues between two turns, about 1 ms, and as many retained ones; and by one message that needs
    /// their room, which is dropped if that is not enough: the rest goes in the next turns.
    static let expiredPerTurn = 2048
    static let expiredPerMessage = 1 << 14
    static var workPerExpired: UInt64 { 4 }

    /// Changes that wait for their commit before no more of them are taken out: far less than what keeps clients from being read.
    static let sweptUncommittedBytesMax = 4 << 20

    /// A packet with more of them could have an answer that does not fit into a frame.
    static let filtersPerPacketMax = 2 << 20

    /// Bytes of one client that may wait for its turn beyond `flow_control.session_credit`: those that a listener sends again to another
    /// router (1 MiB), and acknowledgements, which need no credit. A client that sends more of these is closed with 0x97.
    static let waitingInputBytesMax = 2 << 20

    /// A client that sends a packet over 64 KiB more slowly than that, for as long as that, is slow: a device on a line of 5 kB/s is well above
    /// it, and what holds the room for such packets without using it is not.
    static let partialBytesPerSecondMin: UInt64 = 1024
    static let partialGraceNanoseconds = 20 * Nanoseconds.perSecond

    /// Nodes of the retained tree that one cursor visits before other work gets its turn: well under a millisecond.
    static let retainedNodesPerTurn = 2048

    /// What looking through one session's queue may cost in a turn, after its rules became others: on the scale of `workPerTurn`, with each rule
    /// that a message is compared with. Half a millisecond, or what one message takes.
    static let queueCheckWorkPerTurn: UInt64 = 4096

    /// Changes that wait for their commit before credit is returned no more, so that clients are not read any further.
    /// What was read already, and has to be stored, waits in `WaitingInput`. From half of it on the router's own work waits: wills that are
    /// due, and sessions whose time has come.
    static let uncommittedBytesMax = 32 << 20

    /// How long a QoS 1 message may wait for a session that ends with its connection, and its publisher for the PUBACK, before it is
    /// stored; up to twice as long where the queue moves.
    static let unstoredNanoseconds = 20 * Nanoseconds.perMillisecond

    /// What a client that acknowledges promptly takes at most; less than a listener lets acknowledgements wait that nobody waits for, so
    /// that on a quiet broker, where a commit is sooner than these, messages are stored at once.
    static let acknowledgedSoonNanoseconds = 4 * Nanoseconds.perMillisecond

    /// How long a QoS 1 message may be with a client before its identifier is stored. Most are acknowledged sooner, and what is younger
    /// comes again from the next router when this one is killed.
    static let unidentifiedNanoseconds = 500 * Nanoseconds.perMillisecond

    /// Bytes of messages of one session that wait so, and sessions of one frame.
    static let unstoredBytesMax = 1 << 20
    static let awaitedPerFrameMax = 64

    /// A publisher waits for the acknowledgements of so many receivers of one message. The more there are, the longer the last one takes: a
    /// message to more is stored, and its PUBACK comes with the commit.
    static let awaitedReceiversMax = 8

    /// Copies of QoS 2 messages that listeners keep after which their listeners are told what is settled; and those beyond which
    /// further ones are stored instead.
    static let exchangesPerMark = 1024
    static let exchangesMax = 65_536

    /// How long packets that were under way are kept for listeners that do not come back, and the most bytes of their messages; packets
    /// beyond cost their connections when the router ends.
    static let unclaimedPacketNanoseconds = 60 * Nanoseconds.perSecond
    static let unfinishedPacketBytesMax = 64 << 20
    /// Of them, of packets that the store could take; it does for a while after some could not be kept.
    static let unfinishedInsteadOfStoredBytesMax = 16 << 20
    static let unfinishedAvoidedNanoseconds = 10 * Nanoseconds.perSecond

    /// How long a listener whose link broke has to come back with its connections.
    static let relinkGraceNanoseconds = 2 * Nanoseconds.perSecond

    /// How long a listener lets a CONNECT wait for a router.
    static let connectWaitNanoseconds = Limits.brokerWaitNanoseconds

    /// How long after a start listeners have time to attach their sessions, and clients to come back, before wills are published and
    /// sessions that should have ended with their connection end (MQTT 5.0, section 3.1.2.5, allows wills to be late after a
    /// failure of the server).
    static let restartGraceNanoseconds = 5 * Nanoseconds.perSecond
}
