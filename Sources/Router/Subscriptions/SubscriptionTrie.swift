import Common

/// Who subscribed to what: topic filters as a tree of levels, so that a message meets only filters that may match it.
///
/// ```
///            root
///           /    \            Nodes lie in one flat array and know their parent. A child is found in one hash table
///     devices     +           for the whole tree by (parent, level); "+" and "#" are levels with reserved numbers,
///     /     \      \          and a node's flags tell whether looking for them is worth it.
///   d1       d2     status
///    \        \               A node holds its only subscriber itself; two and more are in a list.
///     #       cmd
/// ```
///
/// 24 bytes a node, about 8 for its place in the table, 24 and 8 for each distinct level.
/// Sessions are numbers here; the caller guarantees that a number means one session as long as it is in here.
struct SubscriptionTrie: ~Copyable {
    static var noSession: UInt32 { UInt32.max }

    struct Node: TableElement {
        static var hasPlusChild: UInt32 { 1 << 31 }
        static var hasHashChild: UInt32 { 1 << 30 }
        static var hasGroups: UInt32 { 1 << 29 }
        static var childCountMask: UInt32 { (1 << 29) - 1 }

        var parent: UInt32
        var level: UInt32
        /// The number of children in the lower bits, flags above.
        var children: UInt32 = 0
        var subscriberCount: UInt32 = 0
        /// The only subscriber; with more than one, `session` is the index of the list.
        var subscriber = Subscriber(session: 0, options: Subscriber.Options(qos: .atMostOnce))

        var tableHash: UInt32 { Self.hash(parent: self.parent, level: self.level) }

        @inline(__always)
        static func hash(parent: UInt32, level: UInt32) -> UInt32 {
            let key = UInt64(parent) << 32 | UInt64(level)
            let product = key.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
            return UInt32(truncatingIfNeeded: product.high ^ product.low ^ product.low >> 32)
        }
    }

    /// The kinds of result of a SUBSCRIBE that the rest of the system tells apart.
    enum AddResult: Equatable {
        case added
        case replaced
    }

    /// Interned levels are numbered from 1; these two are never text.
    static var plusLevel: UInt32 { UInt32.max }
    static var hashLevel: UInt32 { UInt32.max - 1 }
    /// The root is node 1: index 0 means "none" in the table.
    static var root: UInt32 { 1 }
    /// Lists longer than this are searched through `positions`.
    static var longList: Int { 16 }

    var nodes = ChunkedArray<Node>()
    var table = IndexTable()
    var levels: LevelTable
    private var firstFreeNode: UInt32 = 0
    var lists: [[Subscriber]] = []
    private var freeLists: [UInt32] = []
    /// Where in a long list a session stands, by node and session.
    private var positions: [UInt64: UInt32] = [:]
    private(set) var groups = SharedGroups()
    /// Groups and members that the last change of a shared subscription looked at.
    private(set) var sharedLookedAt = 0

    /// Subscriptions in here, members of shared groups included.
    private(set) var count = 0
    /// Another one after each change.
    private(set) var revision: UInt64 = 1

    // Scratch space of `match`, kept to allocate nothing.
    var topicLevels: [UInt32] = []
    var pending: [PendingNode] = []
    /// Nodes that the last match looked at.
    var nodesVisited = 0

    init(seed: UInt64) {
        self.levels = LevelTable(seed: seed)
        self.nodes.append(Node(parent: 0, level: 0))
        self.nodes.append(Node(parent: 0, level: 0))
    }

    /// Nodes in use, the root left out: as many as before when every subscription was taken back.
    var nodeCount: Int { self.table.count }

    /// Memory of its own, texts left out; lists of several subscribers counted with their capacity.
    var heldBytes: Int {
        var bytes = self.nodes.heldBytes + self.table.heldBytes + self.levels.heldBytes + self.groups.heldBytes
        for list in self.lists { bytes += 32 + list.capacity * MemoryLayout<Subscriber>.stride }
        return bytes + self.positions.capacity * 17 + self.freeLists.capacity * 4
    }

    // MARK: Subscribing

    /// Adds or replaces a session's subscription to a filter. The filter is valid and no `$share` one.
    /// - Returns: the node of the filter, which names the subscription from now on, and whether it was there before.
    mutating func add(filter: UnsafeRawBufferPointer, _ subscriber: Subscriber) -> (node: UInt32, result: AddResult) {
        self.revision += 1
        let index = self.findOrCreate(filter)
        let node = self.nodes[index]
        if node.subscriberCount == 0 {
            self.nodes[index].subscriber = subscriber
            self.nodes[index].subscriberCount = 1
            self.count += 1
            return (index, .added)
        }
        if node.subscriberCount == 1 {
            if node.subscriber.session == subscriber.session {
                self.nodes[index].subscriber = subscriber
                return (index, .replaced)
            }
            self.nodes[index].subscriber.session = self.newList([node.subscriber, subscriber])
            self.nodes[index].subscriberCount = 2
            self.count += 1
            return (index, .added)
        }
        let list = Int(node.subscriber.session)
        if let position = self.position(of: subscriber.session, node: index, list: list) {
            self.lists[list][position] = subscriber
            return (index, .replaced)
        }
        self.lists[list].append(subscriber)
        self.nodes[index].subscriberCount += 1
        self.count += 1
        self.notePositions(node: index, list: list)
        return (index, .added)
    }

    /// The node of a filter if anybody subscribed to it or below, else 0.
    func find(filter: UnsafeRawBufferPointer) -> UInt32 {
        var node = Self.root
        var splitter = LevelSplitter(filter)
        while let text = splitter.next() {
            node = self.child(of: node, level: self.levelNumber(text))
            if node == 0 { return 0 }
        }
        return node
    }

    /// The options of a session's subscription.
    func subscription(node: UInt32, session: UInt32) -> Subscriber.Options? {
        let entry = self.nodes[node]
        if entry.subscriberCount == 0 { return nil }
        if entry.subscriberCount == 1 {
            return entry.subscriber.session == session ? entry.subscriber.options : nil
        }
        let list = Int(entry.subscriber.session)
        return self.position(of: session, node: node, list: list).map { self.lists[list][$0].options }
    }

    /// Takes a session's subscription back. Nodes nobody needs any more are freed.
    /// - Returns: whether there was one.
    mutating func remove(node index: UInt32, session: UInt32) -> Bool {
        self.revision += 1
        let node = self.nodes[index]
        if node.subscriberCount == 0 { return false }
        if node.subscriberCount == 1 {
            guard node.subscriber.session == session else { return false }
            self.nodes[index].subscriberCount = 0
            self.count -= 1
            self.freeIfUnused(index)
            return true
        }
        let list = Int(node.subscriber.session)
        guard let position = self.position(of: session, node: index, list: list) else { return false }
        self.removeFromList(node: index, list: list, position: position)
        self.count -= 1
        return true
    }

    // MARK: Shared groups

    /// Adds or replaces a member of `$share/name/filter`; the filter is given without that prefix.
    mutating func addShared(
        filter: UnsafeRawBufferPointer,
        name: UnsafeRawBufferPointer,
        _ subscriber: Subscriber
    ) -> (group: UInt32, result: AddResult) {
        self.revision += 1
        let node = self.findOrCreate(filter)
        self.sharedLookedAt = 0
        var group = self.groups.find(node: node, name: self.levels.find(name), &self.sharedLookedAt)
        if group == SharedGroups.none {
            group = self.groups.make(node: node, name: self.levels.retain(name))
            self.nodes[node].children |= Node.hasGroups
        }
        guard self.groups.add(subscriber, to: group, &self.sharedLookedAt) else { return (group, .replaced) }
        self.count += 1
        return (group, .added)
    }

    func findGroup(node: UInt32, name: UnsafeRawBufferPointer) -> UInt32? {
        var lookedAt = 0
        let group = self.groups.find(node: node, name: self.levels.find(name), &lookedAt)
        return group == SharedGroups.none ? nil : group
    }

    /// - Returns: whether the session was a member.
    mutating func removeShared(group: UInt32, session: UInt32) -> Bool {
        self.revision += 1
        self.sharedLookedAt = 0
        guard self.groups.remove(session, from: group, &self.sharedLookedAt) else { return false }
        self.count -= 1
        guard !self.groups.hasMembers(group) else { return true }
        let node = self.groups[group].node
        self.levels.release(self.groups[group].name)
        self.groups.forget(group)
        if self.groups.first(of: node) == SharedGroups.none {
            self.nodes[node].children &= ~Node.hasGroups
            self.freeIfUnused(node)
        }
        return true
    }

    /// Whether the group of that number is still the one with the stamp, and has members.
    func hasMembers(group: UInt32, stamp: UInt32) -> Bool {
        self.groups.isThere(group, stamp: stamp)
    }

    /// The member of a shared group that gets the next message.
    mutating func chooseMember(
        of group: UInt32,
        _ spread: Configuration.MQTT.SharedSpread,
        _ state: (Subscriber) -> SharedGroup.Member
    ) -> Subscriber? {
        self.groups.choose(from: group, spread, state)
    }

    // MARK: Nodes

    /// The text of a node's filter.
    func filter(of node: UInt32) -> [UInt8] {
        var path: [UInt32] = []
        var index = node
        while index != Self.root {
            path.append(self.nodes[index].level)
            index = self.nodes[index].parent
        }
        var bytes: [UInt8] = []
        for (position, level) in path.reversed().enumerated() {
            if position > 0 { bytes.append(0x2F) }
            switch level {
            case Self.plusLevel: bytes.append(0x2B)
            case Self.hashLevel: bytes.append(0x23)
            default: self.levels.append(level, to: &bytes)
            }
        }
        return bytes
    }

    @inline(__always)
    func child(of parent: UInt32, level: UInt32) -> UInt32 {
        if level == LevelTable.none { return 0 }
        return self.table.find(hash: Node.hash(parent: parent, level: level)) { index in
            let node = self.nodes[index]
            return node.parent == parent && node.level == level
        }
    }

    private func levelNumber(_ text: UnsafeRawBufferPointer) -> UInt32 {
        if text.count == 1 {
            if text[0] == 0x2B { return Self.plusLevel }
            if text[0] == 0x23 { return Self.hashLevel }
        }
        return self.levels.find(text)
    }

    private mutating func findOrCreate(_ filter: UnsafeRawBufferPointer) -> UInt32 {
        var node = Self.root
        var splitter = LevelSplitter(filter)
        while let text = splitter.next() {
            let known = self.child(of: node, level: self.levelNumber(text))
            node = known != 0 ? known : self.createChild(of: node, text)
        }
        return node
    }

    private mutating func createChild(of parent: UInt32, _ text: UnsafeRawBufferPointer) -> UInt32 {
        var level = self.levelNumber(text)
        if level == Self.plusLevel {
            self.nodes[parent].children |= Node.hasPlusChild
        } else if level == Self.hashLevel {
            self.nodes[parent].children |= Node.hasHashChild
        } else {
            level = self.levels.retain(text)
        }
        let node = Node(parent: parent, level: level)
        var index = self.firstFreeNode
        if index != 0 {
            self.firstFreeNode = self.nodes[index].parent
            self.nodes[index] = node
        } else {
            index = UInt32(self.nodes.count)
            self.nodes.append(node)
        }
        self.nodes[parent].children += 1
        self.table.insert(index, hash: node.tableHash, of: self.nodes)
        return index
    }

    /// Frees a node, and then its ancestors, as long as nothing hangs on them.
    private mutating func freeIfUnused(_ start: UInt32) {
        var index = start
        while index != Self.root {
            let node = self.nodes[index]
            guard node.subscriberCount == 0, node.children == 0 else { return }
            self.table.remove(index, hash: node.tableHash, of: self.nodes)
            switch node.level {
            case Self.plusLevel: self.nodes[node.parent].children &= ~Node.hasPlusChild
            case Self.hashLevel: self.nodes[node.parent].children &= ~Node.hasHashChild
            default: self.levels.release(node.level)
            }
            self.nodes[node.parent].children -= 1
            self.nodes[index] = Node(parent: self.firstFreeNode, level: 0)
            self.firstFreeNode = index
            index = node.parent
        }
    }

    // MARK: Lists

    private mutating func newList(_ subscribers: [Subscriber]) -> UInt32 {
        if let free = self.freeLists.popLast() {
            self.lists[Int(free)] = subscribers
            return free
        }
        self.lists.append(subscribers)
        return UInt32(truncatingIfNeeded: self.lists.count - 1)
    }

    private static func positionKey(node: UInt32, session: UInt32) -> UInt64 { UInt64(node) << 32 | UInt64(session) }

    private func position(of session: UInt32, node: UInt32, list: Int) -> Int? {
        if self.lists[list].count > Self.longList {
            return self.positions[Self.positionKey(node: node, session: session)].map { Int($0) }
        }
        return self.lists[list].firstIndex { $0.session == session }
    }

    /// Called after an append: a list that becomes long enters all its positions, a long one its last.
    private mutating func notePositions(node: UInt32, list: Int) {
        let count = self.lists[list].count
        guard count > Self.longList else { return }
        for position in (count == Self.longList + 1 ? 0 : count - 1)..<count {
            let session = self.lists[list][position].session
            self.positions[Self.positionKey(node: node, session: session)] = UInt32(truncatingIfNeeded: position)
        }
    }

    private mutating func removeFromList(node: UInt32, list: Int, position: Int) {
        let last = self.lists[list].count - 1
        if self.lists[list].count > Self.longList {
            let removed = self.lists[list][position].session
            let moved = self.lists[list][last].session
            self.positions[Self.positionKey(node: node, session: moved)] = UInt32(truncatingIfNeeded: position)
            self.positions[Self.positionKey(node: node, session: removed)] = nil
        }
        self.lists[list].swapAt(position, last)
        self.lists[list].removeLast()
        self.nodes[node].subscriberCount -= 1
        if self.lists[list].count == Self.longList {
            for subscriber in self.lists[list] {
                self.positions[Self.positionKey(node: node, session: subscriber.session)] = nil
            }
        }
        guard self.lists[list].count == 1 else { return }
        self.nodes[node].subscriber = self.lists[list][0]
        self.lists[list] = []
        self.freeLists.append(UInt32(truncatingIfNeeded: list))
    }
}
