import Common

/// Large packets of which a client has, or may have, only the beginning, and which the store cannot continue: QoS 0, QoS 1 for a session
/// that ends with its connection, and QoS 1 that began while nothing could be stored. Whoever runs the core keeps a copy outside of the process (`takeChanges`), before anything of the packet
/// leaves, so that the next router goes on with it.
///
/// One for each session, by the session's number in the store, until all of it is with the session's listener.
struct UnfinishedPackets {
    enum Change {
        case keep(session: UInt64, Message)
        case drop(session: UInt64)
    }

    private enum Stage {
        case underWay
        /// All of it was written; it may still be in this process.
        case written
        /// Its connection's listener may come back.
        case unclaimed
    }

    private struct Entry {
        var message: Message
        var stage: Stage
        /// Tells one packet of a session from the next.
        var number: UInt64
    }

    /// Names an entry that ends later.
    struct Reference {
        let session: UInt64
        fileprivate let number: UInt64
    }

    private var entries: [UInt64: Entry] = [:]
    /// Entries that have the message.
    private var uses: [ObjectIdentifier: Int] = [:]
    /// Of payloads, each counted once.
    private var bytes = 0
    /// Something could not be kept: what could be stored is, until then.
    private var avoidedUntil: Instant = 0
    private var changes: [Change] = []
    private var unclaimed: [(due: Instant, reference: Reference)] = []
    private var lastNumber: UInt64 = 0

    init() {}

    var count: Int { self.entries.count }
    var nextExpiry: Instant? { self.unclaimed.first?.due }

    /// The message of the packet that was under way to a session's client.
    func message(of session: UInt64) -> Message? { self.entries[session]?.message }

    /// Whether a packet that could be stored instead may begin at once. It leaves room for those that could not.
    func mayBegin(_ session: UInt64, _ message: Message, now: Instant) -> Bool {
        guard now >= self.avoidedUntil, !self.isLeaving(session) else { return false }
        return self.uses[ObjectIdentifier(message)] != nil
            || self.bytes + message.header.payloadBytes <= RouterLimits.unfinishedInsteadOfStoredBytesMax
    }

    /// A packet begins.
    /// - Returns: false when the one before may still be in this process: until it is not, no other may take its place.
    mutating func begin(_ session: UInt64, _ message: Message) -> Bool {
        guard !self.isLeaving(session) else { return false }
        self.set(session, message, .underWay)
        self.changes.append(.keep(session: session, message))
        return true
    }

    /// All of the packet before it was written, and may still be in this process.
    func isLeaving(_ session: UInt64) -> Bool { self.entries[session]?.stage == .written }

    mutating func failed(now: Instant) {
        self.avoidedUntil = now &+ RouterLimits.unfinishedAvoidedNanoseconds
    }

    /// The rest of a packet goes to the client.
    mutating func goOn(_ session: UInt64) {
        guard let entry = self.entries[session] else { return }
        self.set(session, entry.message, .underWay)
    }

    /// The last part was written.
    mutating func wrote(_ session: UInt64) -> Reference? {
        guard let number = self.entries[session]?.number else { return nil }
        self.entries[session]?.stage = .written
        return Reference(session: session, number: number)
    }

    /// It is with the session's listener.
    mutating func finish(_ reference: Reference) {
        guard self.entries[reference.session]?.number == reference.number else { return }
        self.drop(reference.session)
    }

    mutating func drop(_ session: UInt64) {
        guard let entry = self.entries.removeValue(forKey: session) else { return }
        self.count(entry.message, -1)
        self.changes.append(.drop(session: session))
    }

    /// The connection ended, and may be attached again until `due`, which is never earlier than that of the last call.
    mutating func release(_ session: UInt64, due: Instant) {
        guard let entry = self.entries[session] else { return }
        let reference = self.set(session, entry.message, .unclaimed)
        self.unclaimed.append((due, reference))
    }

    /// What the router before this one had.
    mutating func restore(_ messages: [UInt64: Message], due: Instant) {
        for (session, message) in messages {
            self.unclaimed.append((due, self.set(session, message, .unclaimed)))
        }
    }

    mutating func dropUnclaimed(now: Instant) {
        let count = self.unclaimed.prefix { $0.due <= now }.count
        for (_, reference) in self.unclaimed.prefix(count) { self.finish(reference) }
        self.unclaimed.removeFirst(count)
    }

    /// What happened since the last call, in order.
    mutating func takeChanges() -> [Change] {
        guard !self.changes.isEmpty else { return [] }
        defer { self.changes = [] }
        return self.changes
    }

    @discardableResult
    private mutating func set(_ session: UInt64, _ message: Message, _ stage: Stage) -> Reference {
        self.lastNumber += 1
        self.count(message, 1)
        if let former = self.entries[session] { self.count(former.message, -1) }
        self.entries[session] = Entry(message: message, stage: stage, number: self.lastNumber)
        return Reference(session: session, number: self.lastNumber)
    }

    private mutating func count(_ message: Message, _ change: Int) {
        let former = self.uses[ObjectIdentifier(message)] ?? 0
        let uses = former + change
        self.uses[ObjectIdentifier(message)] = uses > 0 ? uses : nil
        if (former > 0) != (uses > 0) { self.bytes += change * message.header.payloadBytes }
    }
}
