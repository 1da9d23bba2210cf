import Common

/// QoS 1 and 2 messages sent to one client and not yet done with (MQTT 5.0, section 4.3). The packet id is the place in the
/// table plus one, so that an acknowledgement finds its message without searching.
struct Inflight {
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
        /// Orders entries by their first sending [MQTT-4.6.0-1]; in a free entry the next free one (place plus one).
        var sequence: UInt64
        var stage: Stage
        /// Of its entry in the store; 0: it has none.
        var number: UInt64 = 0
    }

    /// Identifiers are taken in turns over at least this many, so that a late acknowledgement meets no new message.
    private static let rotation = 16

    private var entries: [Entry] = []
    private var firstFree: UInt64 = 0
    private var lastFree: UInt64 = 0
    private(set) var nextSequence: UInt64 = 1
    private(set) var count = 0
    private var hasUnknown = false
    /// Of the messages held, as `Message.countedBytes` has it.
    private(set) var bytes = 0

    var isEmpty: Bool { self.count == 0 }

    /// Nil when all 65,535 identifiers are taken.
    mutating func add(_ item: QueuedMessage) -> UInt16? {
        let entry = Entry(item: item, sequence: self.nextSequence, stage: .published, number: item.number)
        var identifier: UInt16
        if self.firstFree != 0, self.entries.count >= Self.rotation {
            let index = Int(self.firstFree) - 1
            identifier = UInt16(truncatingIfNeeded: self.firstFree)
            self.firstFree = self.entries[index].sequence
            if self.firstFree == 0 { self.lastFree = 0 }
            self.entries[index] = entry
        } else {
            guard self.entries.count < Int(UInt16.max) else { return nil }
            self.entries.append(entry)
            identifier = UInt16(truncatingIfNeeded: self.entries.count)
        }
        self.nextSequence += 1
        self.bytes += item.message.countedBytes
        self.count += 1
        return identifier
    }

    func stage(of identifier: UInt16) -> Stage {
        guard identifier > 0, Int(identifier) <= self.entries.count else { return .free }
        return self.entries[Int(identifier) - 1].stage
    }

    func item(of identifier: UInt16) -> QueuedMessage? {
        guard identifier > 0, Int(identifier) <= self.entries.count else { return nil }
        return self.entries[Int(identifier) - 1].item
    }

    /// Of its message, if that is known.
    func qos(of identifier: UInt16) -> QoS? {
        guard identifier > 0, Int(identifier) <= self.entries.count else { return nil }
        return self.entries[Int(identifier) - 1].item?.qos
    }

    /// Of its entry in the store; 0: it has none.
    func number(of identifier: UInt16) -> UInt64 {
        guard identifier > 0, Int(identifier) <= self.entries.count else { return 0 }
        return self.entries[Int(identifier) - 1].number
    }

    /// Whether its exchange is one of QoS 2, as far as that is known: after PUBREC there is no message any more.
    func isExactlyOnce(_ identifier: UInt16) -> Bool {
        self.stage(of: identifier) == .released || self.item(of: identifier)?.qos == .exactlyOnce
    }

    func contains(exchange: UInt64) -> Bool {
        self.entries.contains { $0.item?.message.header.exchange == exchange }
    }

    /// Nil for one that is free.
    func entry(of identifier: UInt16) -> Entry? {
        guard self.stage(of: identifier) != .free else { return nil }
        return self.entries[Int(identifier) - 1]
    }

    mutating func setNumber(_ number: UInt64, of identifier: UInt16) {
        self.entries[Int(identifier) - 1].number = number
    }

    /// What the store kept.
    init(restoring kept: [UInt16: Entry]) {
        guard let highest = kept.keys.max() else { return }
        for identifier in 1...highest {
            if let entry = kept[identifier] {
                self.entries.append(entry)
                self.nextSequence = max(self.nextSequence, entry.sequence + 1)
                self.bytes += entry.item?.message.countedBytes ?? 0
                self.count += 1
            } else {
                self.entries.append(Entry(item: nil, sequence: self.firstFree, stage: .free))
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
        for (index, entry) in self.entries.enumerated() where entry.stage != .free {
            kept[UInt16(truncatingIfNeeded: index + 1)] = entry
        }
        var sequence = self.nextSequence
        for (identifier, isReleased) in unknown {
            kept[identifier] = Entry(item: nil, sequence: sequence, stage: isReleased ? .released : .published)
            sequence += 1
        }
        self = Inflight(restoring: kept)
        self.nextSequence = max(self.nextSequence, sequence)
        self.hasUnknown = true
    }

    /// The connection that they were in use on is gone.
    mutating func removeUnknown() {
        guard self.hasUnknown else { return }
        self.hasUnknown = false
        for identifier in self.identifiersInOrder() {
            guard let entry = self.entry(of: identifier), entry.stage == .published, entry.item == nil else { continue }
            self.remove(identifier)
        }
    }

    /// PUBREC came.
    mutating func release(_ identifier: UInt16) {
        let index = Int(identifier) - 1
        self.bytes -= self.entries[index].item?.message.countedBytes ?? 0
        self.entries[index].stage = .released
        self.entries[index].item = nil
    }

    /// The message is done with; its identifier may be used again.
    mutating func remove(_ identifier: UInt16) {
        let index = Int(identifier) - 1
        precondition(self.entries[index].stage != .free, "removed a packet identifier that is not in use")
        self.bytes -= self.entries[index].item?.message.countedBytes ?? 0
        self.entries[index] = Entry(item: nil, sequence: 0, stage: .free)
        if self.lastFree != 0 {
            self.entries[Int(self.lastFree) - 1].sequence = UInt64(identifier)
        } else {
            self.firstFree = UInt64(identifier)
        }
        self.lastFree = UInt64(identifier)
        self.count -= 1
    }

    /// What is under way, in the order of the first sending.
    func identifiersInOrder() -> [UInt16] {
        var found: [(sequence: UInt64, identifier: UInt16)] = []
        found.reserveCapacity(self.count)
        for (index, entry) in self.entries.enumerated() where entry.stage != .free {
            found.append((entry.sequence, UInt16(truncatingIfNeeded: index + 1)))
        }
        found.sort { $0.sequence < $1.sequence }
        return found.map(\.identifier)
    }

    /// Gives memory back while nothing is under way.
    mutating func releaseMemoryIfEmpty() {
        guard self.count == 0 else { return }
        self.entries = []
        self.firstFree = 0
        self.lastFree = 0
    }
}
