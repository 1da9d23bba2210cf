/// Who gets a message: filled by `SubscriptionTrie.match`, kept and reused by its owner so that a match allocates nothing.
struct MatchResult: ~Copyable {
    /// A further subscription identifier of the entry at `entry`.
    struct FurtherIdentifier: BitwiseCopyable, Equatable {
        var entry: UInt32
        var identifier: UInt32
    }

    /// One entry per session, in no particular order.
    private(set) var subscribers: [Subscriber] = []
    /// Ordered by entry; empty nearly always.
    private(set) var furtherIdentifiers: [FurtherIdentifier] = []
    /// Shared groups of which one member each gets a copy of its own.
    private(set) var groups: [UInt32] = []

    /// Per session index: the entry it has in the match of that stamp.
    private struct Mark: BitwiseCopyable {
        var stamp: UInt32
        var entry: UInt32
    }
    private var marks: [Mark] = []
    private var stamp: UInt32 = 0
    /// Entries collected without marks: those of the first list, which cannot overlap with themselves.
    private var isMarked = false

    init() {}

    mutating func clear() {
        if !self.subscribers.isEmpty { self.subscribers.removeAll(keepingCapacity: true) }
        if !self.furtherIdentifiers.isEmpty { self.furtherIdentifiers.removeAll(keepingCapacity: true) }
        if !self.groups.isEmpty { self.groups.removeAll(keepingCapacity: true) }
        self.isMarked = false
    }

    /// One receiver, or none, found earlier.
    mutating func set(_ subscriber: Subscriber?) {
        self.clear()
        if let subscriber { self.subscribers.append(subscriber) }
    }

    mutating func add(group: UInt32) {
        self.groups.append(group)
    }

    /// Adds a list of subscribers to one filter, in which each session occurs once.
    /// - Parameter publisher: the publishing session, which No Local leaves out [MQTT-3.8.3-3].
    mutating func add(_ list: UnsafeBufferPointer<Subscriber>, publisher: UInt32) {
        if self.subscribers.isEmpty {
            var hasNoLocal = false
            for subscriber in list where subscriber.options.noLocal { hasNoLocal = true }
            if !hasNoLocal { return self.subscribers.append(contentsOf: list) }
            for subscriber in list where !(subscriber.options.noLocal && subscriber.session == publisher) {
                self.subscribers.append(subscriber)
            }
            return
        }
        if !self.isMarked { self.markFirstList() }
        for subscriber in list where !(subscriber.options.noLocal && subscriber.session == publisher) {
            self.merge(subscriber)
        }
    }

    /// Orders what has to be in order; called once after the last `add`.
    mutating func finish() {
        if self.furtherIdentifiers.count > 1 {
            self.furtherIdentifiers.sort { $0.entry < $1.entry }
        }
    }

    private mutating func markFirstList() {
        self.isMarked = true
        self.stamp &+= 1
        if self.stamp == 0 {
            self.marks.removeAll(keepingCapacity: true)
            self.stamp = 1
        }
        for entry in self.subscribers.indices {
            self.mark(self.subscribers[entry].session, entry: UInt32(truncatingIfNeeded: entry))
        }
    }

    private mutating func mark(_ session: UInt32, entry: UInt32) {
        while self.marks.count <= Int(session) { self.marks.append(Mark(stamp: 0, entry: 0)) }
        self.marks[Int(session)] = Mark(stamp: self.stamp, entry: entry)
    }

    private mutating func merge(_ subscriber: Subscriber) {
        let session = Int(subscriber.session)
        guard session < self.marks.count, self.marks[session].stamp == self.stamp else {
            self.mark(subscriber.session, entry: UInt32(truncatingIfNeeded: self.subscribers.count))
            self.subscribers.append(subscriber)
            return
        }
        let entry = Int(self.marks[session].entry)
        let identifier = subscriber.options.identifier
        if identifier != 0 {
            if self.subscribers[entry].options.identifier == 0 {
                self.subscribers[entry].options.bits |= identifier << 4
            } else {
                let further = FurtherIdentifier(entry: UInt32(truncatingIfNeeded: entry), identifier: identifier)
                self.furtherIdentifiers.append(further)
            }
        }
        self.subscribers[entry].options.merge(subscriber.options)
    }
}
