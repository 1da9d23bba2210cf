import Common

/// All groups of shared subscriptions: found by topic filter and name, each filter's in the order in which they came.
///
/// ```
///  first: node ─▶ group ⇄ group ⇄ group ⇄ (the first)      a ring for each filter, so that the last one is known as well
///  table: (node, name) ─▶ group
/// ```
///
/// One client may make thousands of groups of one filter, and one group may have a hundred thousand members: nothing here looks through
/// either. Filters are nodes of the subscription tree, and names numbers of its levels: the tree counts their users.
struct SharedGroups: ~Copyable {
    /// No group: the first one is 1.
    static var none: UInt32 { 0 }

    struct Entry: TableElement {
        var node: UInt32
        /// 0: the entry is free, and `next` the next free one.
        var name: UInt32
        /// Tells groups apart that had the same number one after the other.
        var stamp: UInt32
        var next: UInt32
        var previous: UInt32

        var tableHash: UInt32 { SubscriptionTrie.Node.hash(parent: self.node, level: self.name) }
    }

    private var entries = ChunkedArray<Entry>()
    private var table = IndexTable()
    /// By number, as `entries`.
    private var groups: [SharedGroup] = [SharedGroup()]
    private var first: [UInt32: UInt32] = [:]
    private var firstFree: UInt32 = 0
    private var lastStamp: UInt32 = 0

    init() {
        self.entries.append(Entry(node: 0, name: 0, stamp: 0, next: 0, previous: 0))
    }

    /// Groups with members.
    var count: Int { self.table.count }

    /// Memory of its own, members left out.
    var heldBytes: Int {
        self.entries.heldBytes + self.table.heldBytes + self.groups.capacity * MemoryLayout<SharedGroup>.stride
            + self.first.capacity * 9
    }

    subscript(group: UInt32) -> Entry { self.entries[group] }

    // MARK: Groups

    /// The group of that name, or `none`.
    /// - Parameter lookedAt: counts groups that were looked at.
    func find(node: UInt32, name: UInt32, _ lookedAt: inout Int) -> UInt32 {
        if name == LevelTable.none { return Self.none }
        return self.table.find(hash: SubscriptionTrie.Node.hash(parent: node, level: name)) { index in
            lookedAt += 1
            let entry = self.entries[index]
            return entry.node == node && entry.name == name
        }
    }

    /// The filter's first group, or `none`.
    func first(of node: UInt32) -> UInt32 { self.first[node] ?? Self.none }

    /// Shows all groups of a filter, the oldest first.
    @inline(__always)
    func forEach(of node: UInt32, _ body: (UInt32) -> Void) {
        let first = self.first(of: node)
        guard first != Self.none else { return }
        var group = first
        repeat {
            body(group)
            group = self.entries[group].next
        } while group != first
    }

    /// Makes a group that is not there.
    /// - Returns: its number. It is there until `forget`, and has no members yet.
    mutating func make(node: UInt32, name: UInt32) -> UInt32 {
        self.lastStamp &+= 1
        var entry = Entry(node: node, name: name, stamp: self.lastStamp, next: 0, previous: 0)
        var group = self.firstFree
        if group != 0 {
            self.firstFree = self.entries[group].next
        } else {
            group = UInt32(truncatingIfNeeded: self.entries.count)
            self.entries.append(entry)
            self.groups.append(SharedGroup())
        }
        let first = self.first(of: node)
        if first == Self.none {
            self.first[node] = group
            (entry.next, entry.previous) = (group, group)
            self.entries[group] = entry
        } else {
            let last = self.entries[first].previous
            (entry.next, entry.previous) = (first, last)
            self.entries[group] = entry
            self.entries[last].next = group
            self.entries[first].previous = group
        }
        self.table.insert(group, hash: entry.tableHash, of: self.entries)
        return group
    }

    /// The last member has left. The number may become another group's.
    mutating func forget(_ group: UInt32) {
        let entry = self.entries[group]
        self.table.remove(group, hash: entry.tableHash, of: self.entries)
        if entry.next == group {
            self.first[entry.node] = nil
        } else {
            self.entries[entry.previous].next = entry.next
            self.entries[entry.next].previous = entry.previous
            if self.first[entry.node] == group { self.first[entry.node] = entry.next }
        }
        self.groups[Int(group)] = SharedGroup()
        self.entries[group] = Entry(node: 0, name: 0, stamp: 0, next: self.firstFree, previous: 0)
        self.firstFree = group
    }

    // MARK: Members

    /// Whether the group of that number is still the one with the stamp.
    func isThere(_ group: UInt32, stamp: UInt32) -> Bool {
        Int(group) < self.entries.count && self.entries[group].name != 0 && self.entries[group].stamp == stamp
    }

    func hasMembers(_ group: UInt32) -> Bool { !self.groups[Int(group)].members.isEmpty }

    func options(of session: UInt32, in group: UInt32) -> Subscriber.Options? {
        self.groups[Int(group)].options(of: session)
    }

    /// As of `SharedGroup.add`.
    mutating func add(_ subscriber: Subscriber, to group: UInt32, _ lookedAt: inout Int) -> Bool {
        self.groups[Int(group)].add(subscriber, &lookedAt)
    }

    /// As of `SharedGroup.remove`.
    mutating func remove(_ session: UInt32, from group: UInt32, _ lookedAt: inout Int) -> Bool {
        self.groups[Int(group)].remove(session, &lookedAt)
    }

    /// As of `SharedGroup.choose`.
    mutating func choose(
        from group: UInt32,
        _ spread: Configuration.MQTT.SharedSpread,
        _ state: (Subscriber) -> SharedGroup.Member
    ) -> Subscriber? {
        self.groups[Int(group)].choose(spread, state)
    }
}
