import Common

/// QoS 1 and 2 messages sent to one client and not yet done with (MQTT 5.0, section 4.3). The packet id is the place in the
/// table plus one, so that an acknowledgement finds its message without searching. Not copyable: a copy on the way to one of its
/// functions counts a reference for each of its arrays.
struct Inflight: ~Copyable {
    enum Stage: UInt8 {
        case free
        /// PUBLISH sent or to be sent again; waits for PUBACK or PUBREC.
        case published
        /// PUBREC came; waits for PUBCOMP.
        case released
    }

    struct Entry {
        /// Nil once released: the content is not needed any more. Nil too for a message that only a former router knew.
        var item: QueuedMessage?
        /// Orders entries by their first sending [MQTT-4.6.0-1].
        var sequence: UInt64
        var stage: Stage
        /// Of its entry in the store; 0: it has none.
        var number: UInt64 = 0
    }

    /// What acknowledgements ask for: to be had without touching the message.
    private struct State: BitwiseCopyable {
        /// As `Entry` has it; in a free place the next free one (place plus one).
        var sequence: UInt64
        var number: UInt64 = 0
        /// Of the message, as `Message.countedBytes` has it.
        var bytes: UInt32 = 0
        var stage = Stage.free
        /// Of the message; nil where there is none.
        var qos: QoS?

        init(freeBefore next: UInt64) {
            self.sequence = next
        }

        init(_ stage: Stage, sequence: UInt64, number: UInt64, bytes: Int?, qos: QoS?) {
            self.sequence = sequence
            self.number = number
            self.bytes = UInt32(clamping: bytes ?? 0)
            self.stage = stage
            self.qos = qos
        }
    }

    /// Identifiers are taken in turns over at least this many, so that a late acknowledgement meets no new message.
    private static let rotation = 16

    /// Identifiers that `withdraw` keeps from being used: half of them, so that a connection never runs out.
    private static let withdrawnMax = 1 << 15

    private var states: [State] = []
    /// As many.
    private var items: [QueuedMessage?] = []
    private var firstFree: UInt64 = 0
    private var lastFree: UInt64 = 0
    private(set) var nextSequence: UInt64 = 1
    private(set) var count = 0
    private var hasUnknown = false
    /// See `withdraw`.
    private var withdrawn: [UInt16] = []
    /// Of the messages held, as `Message.countedBytes` has it.
    private(set) var bytes = 0
    /// The sequence of the first message whose publisher waits for its acknowledgement; 0: none. All later ones are such too, or done
    /// with: before anything else comes, they are stored.
    private(set) var awaitedFrom: UInt64 = 0
    /// Of those behind it, the ones that are done with, which came before their turn.
    private var doneAhead: Set<UInt64> = []

    var isEmpty: Bool { self.count == 0 }

    /// All 65,535 identifiers are taken.
    var isFull: Bool { self.firstFree == 0 && self.states.count >= Int(UInt16.max) }

    /// To be called when it is not full.
    mutating func add(_ item: consuming QueuedMessage) -> UInt16 {
        let state = State(
            .published,
            sequence: self.nextSequence,
            number: item.number,
            bytes: item.message.countedBytes,
            qos: item.qos
        )
        var identifier: UInt16
        if self.firstFree != 0, self.states.count >= Self.rotation {
            let index = Int(self.firstFree) - 1
            identifier = UInt16(truncatingIfNeeded: self.firstFree)
            self.firstFree = self.states[index].sequence
            if self.firstFree == 0 { self.lastFree = 0 }
            self.states[index] = state
            self.items[index] = consume item
        } else {
            precondition(self.states.count < Int(UInt16.max), "all packet identifiers are taken")
            self.states.append(state)
            self.items.append(consume item)
            identifier = UInt16(truncatingIfNeeded: self.states.count)
        }
        self.nextSequence += 1
        self.bytes += Int(state.bytes)
        self.count += 1
        return identifier
    }

    /// Nil where no identifier can be.
    @inline(__always)
    private func state(of identifier: UInt16) -> State? {
        guard identifier > 0, Int(identifier) <= self.states.count else { return nil }
        return self.states[Int(identifier) - 1]
    }

    func stage(of identifier: UInt16) -> Stage { self.state(of: identifier)?.stage ?? .free }

    func item(of identifier: UInt16) -> QueuedMessage? {
        guard identifier > 0, Int(identifier) <= self.items.count else { return nil }
        return self.items[Int(identifier) - 1]
    }

    func message(of identifier: UInt16) -> Message? {
        guard identifier > 0, Int(identifier) <= self.items.count else { return nil }
        return self.items[Int(identifier) - 1]?.message
    }

    /// Of its message, if that is known.
    func qos(of identifier: UInt16) -> QoS? { self.state(of: identifier)?.qos }

    /// Of its entry in the store; 0: it has none.
    func number(of identifier: UInt16) -> UInt64 { self.state(of: identifier)?.number ?? 0 }

    /// Orders it among those under way; 0: it is free.
    func sequence(of identifier: UInt16) -> UInt64 {
        guard let state = self.state(of: identifier), state.stage != .free else { return 0 }
        return state.sequence
    }

    /// Whether its exchange is one of QoS 2, as far as that is known: after PUBREC there is no message any more.
    func isExactlyOnce(_ identifier: UInt16) -> Bool {
        self.stage(of: identifier) == .released || self.qos(of: identifier) == .exactlyOnce
    }

    func contains(exchange: UInt64) -> Bool {
        self.items.contains { $0?.message.header.exchange == exchange }
    }

    /// Nil for one that is free.
    func entry(of identifier: UInt16) -> Entry? {
        guard let state = self.state(of: identifier), state.stage != .free else { return nil }
        let item = self.items[Int(identifier) - 1]
        return Entry(item: item, sequence: state.sequence, stage: state.stage, number: state.number)
    }

    mutating func setNumber(_ number: UInt64, of identifier: UInt16) {
        self.states[Int(identifier) - 1].number = number
    }

    /// What the store kept.
    init(restoring kept: [UInt16: Entry]) {
        guard let highest = kept.keys.max() else { return }
        for identifier in 1...highest {
            let entry = kept[identifier]
            self.items.append(entry?.item)
            if let entry {
                let state = State(
                    entry.stage,
                    sequence: entry.sequence,
                    number: entry.number,
                    bytes: entry.item?.message.countedBytes,
                    qos: entry.item?.qos
                )
                self.states.append(state)
                self.nextSequence = max(self.nextSequence, entry.sequence + 1)
                self.bytes += Int(state.bytes)
                self.count += 1
            } else {
                self.states.append(State(freeBefore: self.firstFree))
                if self.lastFree == 0 { self.lastFree = UInt64(identifier) }
                self.firstFree = UInt64(identifier)
            }
        }
    }

    init() {}

    // MARK: Of a former router

    /// Adds identifiers that are in use at the client, for messages that are not known here: they are taken until the client has
    /// acknowledged them.
    mutating func addUnknown(_ unknown: [(identifier: UInt16, isReleased: Bool)]) {
        guard !unknown.isEmpty else { return }
        var kept: [UInt16: Entry] = [:]
        for identifier in self.identifiersInOrder() { kept[identifier] = self.entry(of: identifier) }
        var sequence = self.nextSequence
        for (identifier, isReleased) in unknown {
            kept[identifier] = Entry(item: nil, sequence: sequence, stage: isReleased ? .released : .published)
            sequence += 1
        }
        self = Inflight(restoring: kept)
        self.nextSequence = max(self.nextSequence, sequence)
        self.hasUnknown = true
    }

    /// The connection that they were in use on is gone; what was withdrawn on it may be used again.
    mutating func removeUnknown() {
        for identifier in self.withdrawn { self.free(identifier) }
        self.withdrawn = []
        guard self.hasUnknown else { return }
        self.hasUnknown = false
        for identifier in self.identifiersInOrder() {
            guard self.stage(of: identifier) == .published, self.qos(of: identifier) == nil else { continue }
            self.remove(identifier)
        }
    }

    /// PUBREC came.
    mutating func release(_ identifier: UInt16) {
        let index = Int(identifier) - 1
        self.bytes -= Int(self.states[index].bytes)
        self.states[index].bytes = 0
        self.states[index].qos = nil
        self.states[index].stage = .released
        self.items[index] = nil
    }

    /// The message is done with; its identifier may be used again.
    mutating func remove(_ identifier: UInt16) {
        self.clear(identifier)
        self.free(identifier)
    }

    /// The same of one that its client may still acknowledge, from an earlier connection: its identifier is not used again on this one, so
    /// that nothing else is acknowledged by that.
    mutating func withdraw(_ identifier: UInt16) {
        guard self.withdrawn.count < Self.withdrawnMax else { return self.remove(identifier) }
        self.clear(identifier)
        self.withdrawn.append(identifier)
    }

    private mutating func clear(_ identifier: UInt16) {
        let index = Int(identifier) - 1
        precondition(self.states[index].stage != .free, "removed a packet identifier that is not in use")
        if self.awaitedFrom != 0 { self.noteDone(self.states[index].sequence) }
        self.bytes -= Int(self.states[index].bytes)
        self.states[index] = State(freeBefore: 0)
        self.items[index] = nil
        self.count -= 1
    }

    private mutating func free(_ identifier: UInt16) {
        if self.lastFree != 0 {
            self.states[Int(self.lastFree) - 1].sequence = UInt64(identifier)
        } else {
            self.firstFree = UInt64(identifier)
        }
        self.lastFree = UInt64(identifier)
    }

    /// The publisher of the message that was added last waits for its acknowledgement.
    mutating func awaitLast() {
        if self.awaitedFrom == 0 { self.awaitedFrom = self.nextSequence - 1 }
    }

    mutating func awaitNothing() {
        self.awaitedFrom = 0
        self.doneAhead = []
    }

    private mutating func noteDone(_ sequence: UInt64) {
        guard sequence == self.awaitedFrom else {
            if sequence > self.awaitedFrom { self.doneAhead.insert(sequence) }
            return
        }
        repeat { self.awaitedFrom += 1 } while !self.doneAhead.isEmpty && self.doneAhead.remove(self.awaitedFrom) != nil
        if self.awaitedFrom == self.nextSequence { self.awaitedFrom = 0 }
    }

    /// What is under way, in the order of the first sending.
    /// - Parameter sequence: of the first one that is wanted.
    func identifiersInOrder(from sequence: UInt64 = 0) -> [UInt16] {
        var found: [(sequence: UInt64, identifier: UInt16)] = []
        if sequence == 0 { found.reserveCapacity(self.count) }
        for (index, state) in self.states.enumerated() where state.stage != .free && state.sequence >= sequence {
            found.append((state.sequence, UInt16(truncatingIfNeeded: index + 1)))
        }
        found.sort { $0.sequence < $1.sequence }
        return found.map(\.identifier)
    }

    /// Gives memory back while nothing is under way.
    mutating func releaseMemoryIfEmpty() {
        guard self.count == 0 else { return }
        self.states = []
        self.items = []
        self.firstFree = 0
        self.lastFree = 0
    }
}
