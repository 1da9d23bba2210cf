import Common

/// All session and topic semantics of MQTT, without sockets, clocks or randomness: frames and the time come in, frames go out.
///
/// ```
///  frames ─▶ received ─▶ packets ─▶ match ─▶ fan-out ─▶ output of each link ─▶ takeOutput
///                          │                    │
///                          ▼                    ▼ no credit, no quota, away
///                   acknowledgements      session queues ◀── credit, acknowledgements, resumption
/// ```
///
/// The effects of a packet are computed first, its acknowledgement is appended to `control` after that and leaves at the end of
/// the frame: what must be durable before an acknowledgement goes has its place between the two.
package struct RouterCore: ~Copyable {
    let settings: Configuration.MQTT
    let denyAction: Configuration.Authorization.DenyAction
    let policies: ListenerPolicies
    let partialInputBytesMax: Int
    let partBytes: Int
    let publishCreditPerSession: Int
    let publishCreditPerLink: Int
    var random: IdentifierGenerator

    /// Of the event that is being handled.
    var now: Instant = 0
    var links: [RouterLink?] = []
    private(set) var linksWithOutput: [Int] = []
    var sessions: [Session?] = []
    var freeSessions: [UInt32] = []
    var sessionsByClient: [[UInt8]: UInt32] = [:]
    /// Of sessions, those that are not counted on from the store's (`SessionNumbers`).
    var sessionNumbers: SessionNumbers
    var trie: SubscriptionTrie
    var retained: RetainedStore
    /// When the next will or session expiry of a session is due.
    var deadlines = DeadlineHeap()
    /// When the next message in a session's queue has expired, or sooner.
    var queueExpiries = DeadlineHeap()
    var sweepNotBefore: Instant = 0
    var queuedBytes = 0
    /// In the queues of all sessions.
    package internal(set) var queuedMessages = 0
    package internal(set) var connectedCount = 0
    /// The most at any time.
    var connectedMax = 0
    var system: SystemTopics
    package internal(set) var counters = RouterCounters()

    // Reused from packet to packet.
    var matches = MatchResult()
    var fanout = Fanout()
    /// Acknowledgements for the session whose frame is being handled.
    var control = ByteBuffer()
    /// Sessions that can perhaps send more than they could.
    var pumpList = SessionRing()
    /// Sessions whose retained cursors used up their turn, and those whose queue is looked through for what other rules do not allow.
    var runnable: [UInt32] = []
    /// What the next router needs of packets that are under way.
    var unfinished = UnfinishedPackets()
    /// Sessions with such a packet that cannot begin before the one before it is with their listener.
    var waitsForUnfinished: Set<UInt32> = []
    /// Sessions to be closed that were found where closing was not possible.
    var condemned: [(session: UInt32, reason: ReasonCode)] = []
    var scratch = ByteBuffer()
    /// The client whose message was refused last because too many filters match the beginning of its topic.
    var beyondMatch: [UInt8]?
    package internal(set) var denials = DenialLog()
    /// Links to which the frame that is being handled gave QoS 1 messages that are not stored.
    var handedLinks: UInt64 = 0
    /// A message of that frame was refused, for nothing can be stored.
    var refusesInFrame = false
    /// Messages of that frame that are not stored, and not safe yet where they are.
    var awaited = AwaitedMessages()
    /// Sessions with such messages, the oldest look at them first: what is there still at the next one is stored.
    var unstoredQueues: [(due: Instant, awaited: AwaitedMessage)] = []
    /// Sessions with QoS 1 messages under way whose identifiers are not stored.
    var unidentified: [(due: Instant, session: UInt32)] = []
    /// What the store held of sessions that are not there.
    package var ownerlessEntries = 0
    /// Some answer waits until messages are with other listeners (`handedOver`).
    package internal(set) var waitsForHandOver = false
    /// The next router sends what waits.
    var isEnding = false
    /// A client acknowledged, or will not, what some answer may wait for.
    var awaitedIsDone = false
    /// Turns ended.
    package private(set) var turn: UInt64 = 1
    /// The message that is being routed is on nobody's hands any more: every copy of it has to be stored.
    var storesAllCopies = false
    /// The QoS 2 message that is being routed, if a listener sent it again.
    var repeatedExchange: UInt64 = 0
    /// Sessions that got a copy of it just now: a plain subscription and each shared group bring one.
    var repeatedReceivers: Set<UInt32> = []
    /// PUBCOMPs of the frame that is being handled whose messages are marked as completed in the store.
    var completedInFrame = 0
    var settling = ExchangeSettling()
    /// Sessions that `isUnanswered`, and some that were.
    var unanswered: Set<UInt32> = []
    /// Sessions whose clients were told something that is not stored, and the groups with it.
    var unstored: [UInt32: UInt64] = [:]
    /// Input of clients that have used up their turn.
    var waitingInput: [WaitingInput] = []
    /// What handling the frame at hand has cost, counted on from its session's `work`.
    var work: UInt64 = 0
    /// Sessions below `workEnd` go on; one that has done nothing for a while begins at `workBase`.
    var workBase: UInt64 = 0
    private(set) var workEnd: UInt64
    private let workPerTurn: UInt64
    /// The turn of the frame that is being handled is over because the store is behind.
    var stopsForStore = false
    /// What has to be stored.
    var changes = ChangeLog()
    /// As of `RouterLimits`; tests make it small.
    var uncommittedBytesMax = RouterLimits.uncommittedBytesMax
    /// Of `changes`, when the frame that is being handled came.
    var recordsBefore: UInt64 = 0
    /// The store's time less `now`: see `StoreClock`.
    package var storeOffset: UInt64 = 0
    /// The time of connect stamps, CLOCK_BOOTTIME, less `now`.
    package var bootOffset: UInt64 = 0
    /// When this router started, as connect stamps count.
    package var startStamp: UInt64 = 0

    /// - Parameters:
    ///   - seed: a random number: for hashing and assigned client identifiers.
    ///   - packetPartBytes: larger packets go to clients in parts of this size; tests make it small.
    ///   - workPerTurn: what one session may cost before others get their turn; tests make it small.
    package init(
        configuration: Configuration,
        seed: UInt64,
        packetPartBytes: Int = Limits.packetPartBytes,
        workPerTurn: UInt64 = RouterLimits.workPerTurn
    ) {
        self.workPerTurn = workPerTurn
        self.workEnd = workPerTurn
        self.settings = configuration.mqtt
        self.denyAction = configuration.authorization.denyAction
        self.system = SystemTopics(intervalNanoseconds: configuration.mqtt.sysIntervalNanoseconds)
        self.policies = ListenerPolicies(configuration)
        self.partBytes = packetPartBytes
        self.partialInputBytesMax = configuration.flowControl.partialPacketBytesMax
        self.publishCreditPerSession = configuration.flowControl.sessionCreditBytes
        self.publishCreditPerLink = configuration.flowControl.linkCreditBytes
        self.random = IdentifierGenerator(seed: seed)
        self.sessionNumbers = SessionNumbers(seed: seed)
        self.trie = SubscriptionTrie(seed: seed ^ 0x7269_6555)
        self.retained = RetainedStore(
            seed: seed ^ 0x5265_7461,
            messagesMax: configuration.mqtt.retained.maxMessages,
            bytesMax: configuration.mqtt.retained.maxBytes
        )
    }

    // MARK: Links

    /// A listener is there. The number names its link from now on.
    package mutating func linkUp(peer: LinkHello, now: Instant) -> Int {
        self.now = now
        let free = self.links.firstIndex { $0 == nil }
        let index = free ?? self.links.count
        // Both ends are configured alike; a peer that asks for more would have us keep more for it than is configured.
        var peer = peer
        peer.linkCreditBytes = min(peer.linkCreditBytes, UInt32(clamping: self.publishCreditPerLink))
        peer.sessionCreditBytes = min(peer.sessionCreditBytes, UInt32(clamping: self.publishCreditPerSession))
        let link = RouterLink(index: index, peer: peer, turn: self.turn)
        if free == nil { self.links.append(link) } else { self.links[index] = link }
        return index
    }

    /// A listener is gone, and nearly always all its connections are. Where there is a store they may be attached again: by a
    /// listener that lives, and whose link broke.
    package mutating func linkDown(_ index: Int, now: Instant) {
        self.now = now
        guard index < self.links.count, let link = self.links[index] else { return }
        let grace = self.changes.isOn ? RouterLimits.relinkGraceNanoseconds : 0
        self.settling.beginAgain(after: now &+ RouterLimits.relinkGraceNanoseconds)
        self.storeUnhanded(link)
        self.dropWaitingInput(of: link)
        for slot in link.slots where slot.session != RouterLink.Slot.noSession {
            if let session = self.sessions[Int(slot.session)] {
                self.connectionEnded(session, publishesWill: true, attachGraceNanoseconds: grace)
            }
        }
        self.links[index] = nil
        self.settle()
    }

    /// Handles one frame.
    /// - Returns: what is wrong with it, if the link has to be closed for it.
    package mutating func received(_ frame: Frame, on index: Int, now: Instant) -> StaticString? {
        self.now = now
        self.beginFrame()
        guard index < self.links.count, let link = self.links[index] else { return "frame on a link that is not up" }
        defer { self.settle() }
        switch frame.kind {
        case .sessionPackets: return self.receivedPackets(frame, link)
        case .sessionOpen: return self.waits(opened: frame, link) ? nil : self.receivedOpen(frame, link)
        case .sessionClosed: return self.waits(closed: frame, link) ? nil : self.receivedClosed(frame, link)
        case .sessionRules: return self.receivedRules(frame, link)
        case .deliveryCredit: return self.receivedCredit(frame, link)
        case .sessionAttach: return self.receivedAttach(frame, link)
        case .linkDrained:
            link.isDrained = true
            return nil
        case nil: return nil
        case .linkHello, .sessionAccepted, .sessionRefused, .sessionDeliver, .sessionMulticast, .sessionClose,
            .publishCredit, .sessionGone, .linkClosing, .sessionResumed, .sessionUnstored, .exchangesSettled,
            .authQuery, .authPing, .authAdmitted, .authVerdict, .authChanged, .authConsulted, .authPong, .statusRequest,
            .statusReport, .controlCommand, .controlReply:
            return "frame of a kind that a listener does not send"
        }
    }

    /// What is noted of one frame is forgotten.
    @inline(__always)
    mutating func beginFrame() {
        self.recordsBefore = self.changes.records
        self.handedLinks = 0
        self.stopsForStore = false
        self.awaited.removeAll()
    }

    /// Moves the frames that wait for a link to the end of `output`.
    package mutating func takeOutput(of index: Int, into output: inout ByteBuffer) {
        guard index < self.links.count, let link = self.links[index], !link.output.isEmpty else { return }
        link.takeOutput(&output)
    }

    /// Whether frames wait for a link.
    package func hasOutput(_ index: Int) -> Bool {
        guard index < self.links.count, let link = self.links[index] else { return false }
        return !link.output.isEmpty
    }

    /// Called after everything was read that there was to read: credit goes back, and long work gets another slice.
    package mutating func endTurn(now: Instant) {
        self.now = now
        self.workBase &+= self.workPerTurn
        self.workEnd &+= self.workPerTurn
        if !self.waitingInput.isEmpty { self.handleWaitingInput() }
        self.turn += 1
        if !self.runnable.isEmpty {
            let sessions = self.runnable
            self.runnable = []
            for index in sessions {
                guard let session = self.sessions[Int(index)] else { continue }
                if session.queueCheck != nil { self.checkQueue(session) }
                self.pump(session)
            }
            self.settle()
        }
        self.settleExchanges()
        if self.awaitedIsDone { self.releaseHeld() }
        for link in self.links {
            if let link { self.returnCredit(link) }
        }
    }

    /// The changes since the last call, to be committed as a whole; nil: none.
    package mutating func takeChanges() -> (group: UInt64, records: [UInt8])? {
        self.changes.takeGroup().map { ($0.number, $0.records) }
    }

    /// What has to be kept of packets that are under way, and what no more, outside of this process: before any output is taken.
    mutating func takePacketChanges() -> [UnfinishedPackets.Change] { self.unfinished.takeChanges() }

    /// Some of the last changes could not be carried out.
    mutating func packetsAreNotKept() { self.unfinished.failed(now: self.now) }

    /// Packets that were under way when the last router ended.
    mutating func restorePackets(_ messages: [UInt64: Message], now: Instant) {
        self.unfinished.restore(messages, due: now &+ RouterLimits.unclaimedPacketNanoseconds)
    }

    /// The client of such a message that was refused since the last call.
    mutating func takeBeyondMatch() -> [UInt8]? { self.beyondMatch.take() }

    mutating func takeDenialLines() -> [DenialLog.Line] { self.denials.takeLines() }

    package var uncommittedBytes: Int { self.changes.waitingBytes }

    /// Work is left that needs no event: `endTurn` should be called again soon.
    package var hasWork: Bool {
        !self.runnable.isEmpty || self.waitingInput.contains { !self.isHeldByStore($0) }
    }

    // MARK: Time

    /// When `timePassed` has something to do next.
    package var nextDeadline: Instant? {
        var earliest = self.system.due
        for deadline in [
            self.isStoreBusy ? nil : self.deadlines.earliest, self.nextSweep, self.unstoredQueues.first?.due,
            self.unfinished.nextExpiry, self.unidentified.first?.due,
        ] {
            if let deadline { earliest = min(deadline, earliest ?? deadline) }
        }
        return earliest
    }

    /// Publishes wills, ends sessions and forgets messages whose time has come. Thousands of sessions may come to that at once, and what
    /// they make the store do is no client's credit: while it is busy the rest waits.
    package mutating func timePassed(now: Instant) {
        self.now = now
        while !self.isStoreBusy, let index = self.deadlines.popDue(now) {
            if let session = self.sessions[Int(index)] { self.deadlineReached(session, at: self.now) }
        }
        self.sweepExpired()
        if let due = self.system.due, due <= now { self.publishSystemTopics() }
        self.storeWhatWaitsLong()
        self.storeIdentifiers()
        self.unfinished.dropUnclaimed(now: now)
        self.settle()
    }

    /// Does what was put off while a frame was handled.
    mutating func settle() {
        while true {
            if let index = self.pumpList.popFirst() {
                guard let session = self.sessions[Int(index)] else { continue }
                session.isMarkedForPump = false
                self.pump(session)
            } else if let (index, reason) = self.condemned.popLast() {
                if let session = self.sessions[Int(index)] { self.close(session, reason) }
            } else {
                return
            }
        }
    }

    mutating func markForPump(_ session: Session) {
        guard !session.isMarkedForPump else { return }
        session.isMarkedForPump = true
        self.pumpList.append(session.index)
    }

    // MARK: Figures

    /// Packets other than PUBLISH, which is counted for itself.
    mutating func countReceived(_ packetBytes: Int) {
        self.counters.otherPacketsReceived += 1
        self.counters.otherBytesReceived += UInt64(packetBytes)
    }

    /// The same.
    @inline(__always)
    mutating func countSent(packets: Int, bytes: Int) {
        self.counters.otherPacketsSent += UInt64(packets)
        self.counters.otherBytesSent += UInt64(bytes)
    }

    package var sessionCount: Int { self.sessionsByClient.count }
    package var subscriptionCount: Int { self.trie.count }
    package var retainedCount: Int { self.retained.count }
    package var retainedBytes: Int { self.retained.bytes }
    /// Of messages in the queues of all sessions.
    package var queuedBytesTotal: Int { self.queuedBytes }
    package var linkCount: Int { self.links.count { $0 != nil } }
}
