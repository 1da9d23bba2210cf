import Common

/// The last retained message of each topic (MQTT 5.0, section 3.3.1.3), as a tree of levels: a filter with wildcards visits
/// only branches that can match.
///
/// ```
///   root ── firstChild ──▶ devices ── nextSibling ──▶ status        A child is also found by (parent, level) in one hash
///                             │                                     table; the links between siblings are for wildcards.
///                             ▼
///                            d1 ⇄ d2                                A cursor pins the node it stands on, which then stays
///                                                                   in the tree even when its message goes.
/// ```
struct RetainedStore: ~Copyable {
    struct Node: TableElement {
        var parent: UInt32
        var level: UInt32
        var firstChild: UInt32 = 0
        var nextSibling: UInt32 = 0
        var previousSibling: UInt32 = 0
        /// Index in `entries`; 0: no message.
        var entry: UInt32 = 0
        /// Cursors that stand here.
        var pins: UInt32 = 0

        var tableHash: UInt32 { SubscriptionTrie.Node.hash(parent: self.parent, level: self.level) }
    }

    struct Entry {
        var message: Message?
        var node: UInt32
        /// Counts changes of the store: a cursor leaves out what is newer than itself, for its session got that live.
        var sequence: UInt64
        /// The broker's own: not counted, and not limited.
        var isSystem = false
    }

    enum StoreResult {
        /// With the topic's former message.
        case stored(insteadOf: Message?)
        /// The count or the bytes would exceed the limit.
        case full
    }

    static var root: UInt32 { 1 }

    private(set) var nodes = ChunkedArray<Node>()
    private var table = IndexTable()
    private(set) var levels: LevelTable
    private var firstFreeNode: UInt32 = 0
    private(set) var entries: [Entry] = [Entry(message: nil, node: 0, sequence: 0)]
    private var freeEntries: [UInt32] = []
    private var expiries = DeadlineHeap()
    private(set) var sequence: UInt64 = 0
    private var systemCount = 0
    /// Messages in here, the broker's own left out.
    private(set) var count = 0
    /// Their bytes, as `Message.countedBytes` has it.
    private(set) var bytes = 0
    private let messagesMax: Int
    private let bytesMax: Int

    init(seed: UInt64, messagesMax: Int, bytesMax: Int) {
        self.levels = LevelTable(seed: seed)
        self.messagesMax = messagesMax
        self.bytesMax = bytesMax
        self.nodes.append(Node(parent: 0, level: 0))
        self.nodes.append(Node(parent: 0, level: 0))
    }

    var isEmpty: Bool { self.count == 0 && self.systemCount == 0 }

    /// Nodes in use, the root left out.
    var nodeCount: Int { self.table.count }

    var nextExpiry: Instant? { self.expiries.earliest }

    // MARK: Changing

    /// Whether a message of that size could be stored now; replacing and removing are told by `topic`.
    func hasRoom(topic: UnsafeRawBufferPointer, bytes: Int) -> Bool {
        let node = self.find(topic)
        let old = node == 0 ? 0 : Int(self.nodes[node].entry)
        if old != 0, let message = self.entries[old].message {
            return self.bytes - message.countedBytes + bytes <= self.bytesMax
        }
        return self.count < self.messagesMax && self.bytes + bytes <= self.bytesMax
    }

    /// Stores a message in place of the topic's former one.
    /// - Parameter isSystem: it is the broker's own: its topic is one that no client publishes to.
    mutating func store(_ message: Message, isSystem: Bool = false) -> StoreResult {
        let topic = message.view.topic
        guard isSystem || self.hasRoom(topic: topic, bytes: message.countedBytes) else { return .full }
        let node = self.findOrCreate(topic)
        self.sequence += 1
        var entry = self.nodes[node].entry
        let former = self.entries[Int(entry)].message
        if entry == 0 {
            if let free = self.freeEntries.popLast() {
                entry = free
            } else {
                entry = UInt32(truncatingIfNeeded: self.entries.count)
                self.entries.append(Entry(message: nil, node: 0, sequence: 0))
            }
            self.nodes[node].entry = entry
            self.account(for: message, isSystem: isSystem, adds: true)
        } else if let former {
            self.account(for: former, isSystem: isSystem, adds: false)
            self.account(for: message, isSystem: isSystem, adds: true)
        }
        self.entries[Int(entry)] = Entry(message: message, node: node, sequence: self.sequence, isSystem: isSystem)
        let expiry = message.header.expiry
        self.expiries.set(entry, deadline: expiry == Instant.max ? nil : expiry)
        return .stored(insteadOf: former)
    }

    /// Forgets a topic's message: what an empty retained payload asks for [MQTT-3.3.1-6].
    /// - Returns: that message.
    @discardableResult
    mutating func remove(topic: UnsafeRawBufferPointer) -> Message? {
        let node = self.find(topic)
        return node == 0 ? nil : self.removeEntry(of: node)
    }

    /// Forgets messages whose expiry has come.
    /// - Returns: these messages.
    mutating func removeExpired(_ now: Instant, atMost count: Int) -> [Message] {
        var removed: [Message] = []
        while removed.count < count, let entry = self.expiries.popDue(now) {
            if let message = self.removeEntry(of: self.entries[Int(entry)].node) { removed.append(message) }
        }
        return removed
    }

    private mutating func account(for message: Message, isSystem: Bool, adds: Bool) {
        if isSystem {
            self.systemCount += adds ? 1 : -1
        } else {
            self.count += adds ? 1 : -1
            self.bytes += adds ? message.countedBytes : -message.countedBytes
        }
    }

    private mutating func removeEntry(of node: UInt32) -> Message? {
        let entry = self.nodes[node].entry
        guard entry != 0, let message = self.entries[Int(entry)].message else { return nil }
        self.sequence += 1
        self.account(for: message, isSystem: self.entries[Int(entry)].isSystem, adds: false)
        self.expiries.set(entry, deadline: nil)
        self.entries[Int(entry)] = Entry(message: nil, node: 0, sequence: 0)
        self.freeEntries.append(entry)
        self.nodes[node].entry = 0
        self.freeIfUnused(node)
        return message
    }

    // MARK: Finding

    /// The message of one topic.
    func message(topic: UnsafeRawBufferPointer) -> Message? {
        let node = self.find(topic)
        if node == 0 { return nil }
        return self.entries[Int(self.nodes[node].entry)].message
    }

    func message(at node: UInt32, notAfter sequence: UInt64) -> Message? {
        let entry = self.nodes[node].entry
        guard entry != 0, self.entries[Int(entry)].sequence <= sequence else { return nil }
        return self.entries[Int(entry)].message
    }

    private func find(_ topic: UnsafeRawBufferPointer) -> UInt32 {
        var node = Self.root
        var splitter = LevelSplitter(topic)
        while let text = splitter.next() {
            node = self.child(of: node, level: self.levels.find(text))
            if node == 0 { return 0 }
        }
        return node
    }

    func child(of parent: UInt32, level: UInt32) -> UInt32 {
        if level == LevelTable.none { return 0 }
        return self.table.find(hash: SubscriptionTrie.Node.hash(parent: parent, level: level)) { index in
            let node = self.nodes[index]
            return node.parent == parent && node.level == level
        }
    }

    // MARK: Nodes

    mutating func pin(_ node: UInt32) {
        self.nodes[node].pins += 1
    }

    mutating func unpin(_ node: UInt32) {
        self.nodes[node].pins -= 1
        self.freeIfUnused(node)
    }

    private mutating func findOrCreate(_ topic: UnsafeRawBufferPointer) -> UInt32 {
        var node = Self.root
        var splitter = LevelSplitter(topic)
        while let text = splitter.next() {
            let known = self.child(of: node, level: self.levels.find(text))
            node = known != 0 ? known : self.createChild(of: node, text)
        }
        return node
    }

    private mutating func createChild(of parent: UInt32, _ text: UnsafeRawBufferPointer) -> UInt32 {
        var node = Node(parent: parent, level: self.levels.retain(text))
        // New ones go to the front: a cursor among these siblings, which is past the front, will not run after them.
        node.nextSibling = self.nodes[parent].firstChild
        var index = self.firstFreeNode
        if index != 0 {
            self.firstFreeNode = self.nodes[index].parent
            self.nodes[index] = node
        } else {
            index = UInt32(self.nodes.count)
            self.nodes.append(node)
        }
        if node.nextSibling != 0 { self.nodes[node.nextSibling].previousSibling = index }
        self.nodes[parent].firstChild = index
        self.table.insert(index, hash: node.tableHash, of: self.nodes)
        return index
    }

    private mutating func freeIfUnused(_ start: UInt32) {
        var index = start
        while index != Self.root {
            let node = self.nodes[index]
            guard node.entry == 0, node.firstChild == 0, node.pins == 0 else { return }
            self.table.remove(index, hash: node.tableHash, of: self.nodes)
            self.levels.release(node.level)
            if node.previousSibling != 0 {
                self.nodes[node.previousSibling].nextSibling = node.nextSibling
            } else {
                self.nodes[node.parent].firstChild = node.nextSibling
            }
            if node.nextSibling != 0 { self.nodes[node.nextSibling].previousSibling = node.previousSibling }
            self.nodes[index] = Node(parent: self.firstFreeNode, level: 0)
            self.firstFreeNode = index
            index = node.parent
        }
    }
}
