import Common

/// The MQTT state of one client identifier (MQTT 5.0, section 4.1), and of its connection while it has one.
final class Session {
    /// A message to be published when the connection ends without a proper DISCONNECT (section 3.1.2.5).
    struct Will {
        var message: Message
        var delaySeconds: UInt32
        /// The message expiry interval; nil: none.
        var expirySeconds: UInt32?
    }

    /// One of its subscriptions, as the trie knows it.
    struct Subscription: Equatable {
        /// Of the filter; of a shared one, the group.
        var place: UInt32
        var isShared: Bool
        /// Of its entry in the store, within the session; 0: it has none.
        var number: UInt32 = 0
        /// What it counts towards `mqtt.session.max_subscription_bytes`.
        var countedBytes: UInt32 = 0

        static func == (left: Self, right: Self) -> Bool {
            left.place == right.place && left.isShared == right.isShared
        }

        /// - Parameter filter: whole, with `$share` and the group where it has them.
        static func countedBytes(of filter: UnsafeRawBufferPointer) -> UInt32 {
            let levels = TopicFilter.levelCount(TopicFilter.withoutShare(filter))
            return UInt32(clamping: filter.count + levels * RouterLimits.countedBytesPerLevel)
        }
    }

    /// A QoS 2 message that the client may still take back for sending again.
    struct ReceivedMessage {
        var packetIdentifier: UInt16
        /// How often it came again on the connection that it last came on, and not as a repetition.
        var repetitions: UInt8 = 0
        /// The listener sent it again: a former router may have passed it on.
        var isRepeated = false
        /// Nil: a message that was not taken, of a client that cannot be told.
        var message: Message?
        /// Of the connection it came on; 0: it was stored by a former router.
        var connectStamp: UInt64 = 0
        /// Of the connection on which it last came, and not as a repetition; 0: on none that we know.
        var lastSentStamp: UInt64 = 0
        /// The listener keeps it, and calls it that (`ExchangeIdentity`); 0: the store has it.
        var exchange: UInt64 = 0

        var isStored: Bool { self.exchange == 0 }
    }

    /// A packet over 64 KiB of which parts have come.
    struct PartialInput {
        var bytes: [UInt8] = []
        /// The whole packet; 0 until its fixed header is there.
        var packetBytes = 0
        var usesCredit = false
        /// When it will have come too slowly, if nothing more of it comes.
        var slowAt: Instant
        /// Where the link counts its bytes; nil: nowhere, for it makes room for others.
        var place: PartialInputs.Place?

        init(now: Instant) {
            self.slowAt = now &+ RouterLimits.partialGraceNanoseconds
        }

        /// Bytes of it came. Each lets the next ones take as long as it may have taken itself.
        mutating func progressed(_ bytes: Int, now: Instant) {
            let earned = UInt64(bytes) * Nanoseconds.perSecond / RouterLimits.partialBytesPerSecondMin
            self.slowAt = min(max(self.slowAt, now) &+ earned, now &+ RouterLimits.partialGraceNanoseconds)
        }
    }

    /// A packet over 64 KiB of which parts were sent. Other packets wait until it is through.
    struct PartialOutput {
        var message: Message
        /// Everything before the payload; empty when the client has all of it.
        var head: [UInt8]
        var packetBytes: Int
        var sentBytes = 0
        /// It may begin when this group is committed.
        var group: UInt64 = 0
        /// From then on the store has it with its packet identifier, and another router can go on with it.
        var isStored = false
        /// The same through `UnfinishedPackets`.
        var isKept = false
        /// Acknowledgements that wait behind it.
        var heldControl: [UInt8] = []

        var headBytes: Int { self.packetBytes - self.message.header.payloadBytes }
    }

    /// What must be sent before anything new, apart from the queue. Sessions without such have none of it.
    final class Pending {
        var partialOutput: PartialOutput?
        /// What was under way when the session was resumed and is not sent again yet, last one first.
        var resend: [UInt16] = []
        /// Of them those that were never sent, which are no repetitions [MQTT-3.3.1-1].
        var unsent: Set<UInt16> = []
        /// Retained messages still to be sent; those of a session that lasts go on at its next connection.
        var retainedCursors = RetainedCursorQueue()
        /// They wait for the SUBACK, which waits for this group's commit.
        var retainedGroup: UInt64 = 0
        /// `HeldAnswer.Content.pump` is on its way.
        var isPumpHeld = false

        var isEmpty: Bool { self.partialOutput == nil && self.resend.isEmpty && self.retainedCursors.isEmpty }
    }

    /// Which messages of its queue came under other rules, and were not looked at since (`RouterCore.checkQueue`).
    struct QueueCheck {
        /// The first of them, counted from the beginning of the queue.
        var position: Int
        /// Behind the last of them, or further back.
        var end: Int

        /// The first message left the queue.
        mutating func removedFirst() {
            self.position = max(0, self.position - 1)
            self.end -= 1
        }

        /// One of all that are in the queue left it.
        mutating func removedAny() { self.position = max(0, self.position - 1) }
    }

    static var noLimit: Int { Int.max }

    let index: UInt32
    let clientIdentifier: [UInt8]

    // Survives the connection.
    var subscriptions = SubscriptionList()
    var inflight = Inflight()
    var queue = SessionQueue()
    /// QoS 2 messages that came and wait for their PUBREL, which lets them go on: method A of section 4.3.3.
    var received = ReceivedMessages()
    /// Of the messages in there, as `Message.countedBytes` has it.
    var receivedBytes = 0
    /// Seconds it outlives its connection; `UInt32.max`: for ever.
    var expirySeconds: UInt32 = 0
    var will: Will?
    var access = AccessRules(noMatch: .deny)
    /// QoS 1 and 2 messages in flight before this one were so under other rules.
    var otherRulesSequence: UInt64 = 0
    /// Nil: its rules have been what they are for as long as what is in the queue.
    var queueCheck: QueueCheck?
    var version = ProtocolVersion.v5_0 { didSet { self.hasProperties = self.version.hasProperties } }
    /// Of the version.
    private(set) var hasProperties = true

    /// Of the listener it is, or was last, connected through: see `ListenerPolicies`.
    var policy = 0

    /// Of its entry in the store; 0: it has none.
    var storeNumber: UInt64 = 0
    /// There is a store, and the session is in it with what it holds, but where `isOutsideStore`: it outlives the router.
    var isStored = false
    /// There is a store, and nothing of the session in it yet, for nothing has to be: all that it is came with its CONNECT, which its
    /// listener has. See docs/adr/0017.
    var isOutsideStore = false
    /// It outlives its connection too: nothing for it is acknowledged before it is stored.
    var isDurable = false
    /// Its listener keeps its QoS 2 messages until PUBCOMP: they are not stored.
    var keepsExchanges = false
    /// Nil: it has nothing to do with any.
    var exchanges: SessionExchanges?
    /// Its connection found it, and did not make it.
    var isResumed = false
    /// Of what was under way when it did, not all is sent again on this connection yet.
    var isResending = false
    var lastSubscriptionNumber: UInt32 = 0
    /// The last group of changes that a packet of its client had a part in.
    var touchedGroup: UInt64 = 0
    /// The group that must be committed before anything is sent again on this connection.
    var resendGroup: UInt64 = 0
    /// QoS 1 messages in flight from this one on may be in the store without their packet identifiers.
    var unidentifiedSequence: UInt64 = 0
    /// The turn in which it last got a QoS 1 message that is not stored, and the first of those whose turn its listener may not have.
    var unhandedTurn: UInt64 = 0
    var unhandedSequence: UInt64 = 0
    /// Messages that ever waited in `queue` without being stored, and those of them that do so no more. Either all QoS 1 and 2
    /// messages in the queue are stored, or none is.
    var unstoredQueued: UInt64 = 0
    var unstoredLeft: UInt64 = 0
    /// The last group in which some of those were stored instead.
    var unstoredGroup: UInt64 = 0
    var isInUnstoredQueues = false
    /// See `AwaitedMessages`.
    var awaitedPlace: UInt64 = 0
    /// Its client acknowledged the last QoS 1 message that was timed within `RouterLimits.acknowledgedSoonNanoseconds`: while it does, what
    /// it gets is stored only if it takes longer.
    var acknowledgesSoon = false
    /// The one that is being timed, as `inflight` orders them, and when it was sent; 0: none.
    private var timedSequence: UInt64 = 0
    private var timedSince: Instant = 0
    var isInUnidentified = false
    /// Of its answers in the link's `held`.
    var heldCount = 0
    /// Of those, first sendings of QoS 2 messages, behind which others of QoS 2 stay.
    var heldPublishes = 0
    /// Of those, the ones that refuse a message for nothing can be stored; and the turn in which the last such left.
    var heldRefusals = 0
    var refusalTurn: UInt64 = 0
    /// Its client, of MQTT 3, sent what could not be stored, and got no answer.
    var isUnanswered = false

    // While disconnected.
    var willDue: Instant?
    var expiryDue: Instant?
    /// Its connection may live: a listener that was not heard of yet can attach it again.
    var mayBeAttached = false
    /// A router that has just started waits for what listeners say of the session.
    var dueNotBefore: Instant = 0

    // The connection.
    unowned(unsafe) var link: RouterLink?
    var handle = RouterLink.noHandle
    var connectStamp: UInt64 = 0
    /// What people call the client beside its identifier: its certificate's common name, or else its user name; empty: neither, or the
    /// router was replaced since it connected.
    private(set) var shownName: [UInt8] = []
    /// Where its client is.
    var source = ConnectionSource.unknown
    /// PUBLISH bytes that may still go down.
    var credit = 0
    /// PUBLISH bytes that came up since credit was last returned.
    var consumedBytes = 0
    var isInCreditReturns = false
    /// QoS 1 and 2 messages that may still be sent before acknowledgements come.
    var sendQuota = 0
    var sendQuotaMax = 0
    /// The largest packet the client takes.
    var maximumPacketBytes = Session.noLimit
    /// The client has asked for problem information; that it is wanted when nothing is said (section 3.1.2.11.7) is left aside:
    /// who does not ask for sentences does not read them.
    var wantsReasonStrings = false
    /// Keeps retain flags: the client is a bridge of the kind that says so in its protocol level.
    var isBridge = false
    /// Topics by alias, which counts from 1.
    var topicAliases: [[UInt8]] = []
    /// Those that we use; nil: none.
    var outboundAliases: OutboundAliases?
    var partialInput: PartialInput?
    private(set) var pending: Pending?
    /// QoS 1 messages of the frame being handled, whose acknowledgements have not left.
    var unacknowledgedInFrame = 0
    /// What its packets have cost, on the scale of `RouterCore.workBase`; as much as can be while further ones wait.
    var work: UInt64 = 0
    var waiting: WaitingInput?
    /// A SUBSCRIBE or UNSUBSCRIBE that goes on in the next turn; then `waiting` is there too.
    var unfinishedFilters: UnfinishedFilters?
    var isWaitingForLink = false
    /// See `RouterLink.holdBack`.
    var isHeldBack = false
    var isMarkedForPump = false

    /// What it last published to: devices repeat themselves.
    var recentTopic = RecentTopic()

    init(index: UInt32, clientIdentifier: [UInt8]) {
        self.index = index
        self.clientIdentifier = clientIdentifier
    }

    func setShownName(_ name: [UInt8]?) {
        // Most have one name: they share its bytes.
        if name == self.clientIdentifier {
            self.shownName = self.clientIdentifier
        } else {
            self.shownName = Array(name?.prefix(DenialLog.nameBytesMax) ?? [])
        }
    }

    var isConnected: Bool { self.handle != RouterLink.noHandle }

    /// What was due before a client came to the session comes first [MQTT-3.1.2-8], also what nobody was there to see.
    func isOverdue(at instant: Instant) -> Bool {
        (self.willDue ?? .max) <= instant || (self.expiryDue ?? .max) <= instant
    }

    /// Something waits, so that what comes next must wait behind it.
    @inline(__always) var hasBacklog: Bool { self.queue.count != 0 || self.pending != nil }

    @inline(__always) var hasUnstoredQueued: Bool { self.unstoredLeft != self.unstoredQueued }

    /// Whether another QoS 1 or 2 message may go to the client before it acknowledges one.
    /// - Parameter inflightBytesMax: of the messages under way to it.
    @inline(__always)
    func mayStart(inflightBytesMax: Int) -> Bool {
        self.sendQuota > 0 && self.inflight.bytes < inflightBytesMax
    }

    /// Whether the client takes packets as large as the one that the message makes for it [MQTT-3.1.2-24].
    func takes(_ message: MessageView, _ options: Subscriber.Options, now: Instant) -> Bool {
        guard self.maximumPacketBytes != Self.noLimit else { return true }
        let shape = PublishShape(
            hasProperties: self.hasProperties,
            qos: QoS.lower(message.qos, options.qos),
            retain: message.retain && (options.retainAsPublished || self.isBridge),
            identifier: self.hasProperties ? options.identifier : 0
        )
        return PublishLayout(message, shape, now: now).packetBytes <= self.maximumPacketBytes
    }

    /// `pending`, made if there is none.
    func makePending() -> Pending {
        if let pending = self.pending { return pending }
        let made = Pending()
        self.pending = made
        return made
    }

    func dropPending() {
        self.pending = nil
    }

    /// A QoS 1 message was just added to `inflight`.
    @inline(__always)
    func timeAcknowledgement(now: Instant) {
        guard self.timedSequence == 0 else { return }
        self.timedSequence = self.inflight.nextSequence - 1
        self.timedSince = now
    }

    @inline(__always)
    func acknowledged(_ sequence: UInt64, now: Instant) {
        guard sequence == self.timedSequence else { return }
        self.acknowledgesSoon = now &- self.timedSince <= RouterLimits.acknowledgedSoonNanoseconds
        self.timedSequence = 0
    }

    /// The next connection may be a slower one.
    func forgetAcknowledgements() {
        self.acknowledgesSoon = false
        self.timedSequence = 0
    }

    /// To be called when something of `pending` may have become empty.
    func dropPendingIfEmpty() {
        if let pending = self.pending, pending.isEmpty { self.pending = nil }
    }

    /// Whether the access rules allow a PUBLISH.
    func mayPublish(topic: UnsafeRawBufferPointer, qos: QoS, retain: Bool) -> Bool {
        self.access.isSuperuser || self.access.allowsPublish(topic: topic, qos: qos, retain: retain)
    }

    /// - Parameter alias: from 1 on; the caller keeps it within what the client was offered.
    func setTopicAlias(_ alias: Int, _ topic: [UInt8]) {
        while self.topicAliases.count < alias { self.topicAliases.append([]) }
        self.topicAliases[alias - 1] = topic
    }

    func setAccess(_ access: AccessRules) {
        self.access = access
        self.recentTopic.forget()
    }

    /// Has packets sent again that were under way [MQTT-4.4.0-1]: first the PUBRELs, which need no quota, and whose answers give some.
    /// - Returns: how many PUBRELs.
    @discardableResult
    func sendAgain(_ identifiers: [UInt16]) -> Int {
        let released = identifiers.filter { self.inflight.stage(of: $0) == .released }
        let published = identifiers.filter { self.inflight.stage(of: $0) == .published }
        self.makePending().resend = (released + published).reversed()
        return released.count
    }

    /// An acknowledgement came that lets another message go; never beyond the maximum [MQTT-4.9.0-2].
    func returnQuota() {
        if self.sendQuota < self.sendQuotaMax { self.sendQuota += 1 }
    }
}
