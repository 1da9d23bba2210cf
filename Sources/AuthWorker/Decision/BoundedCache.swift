/// A dictionary with a bound: the entry that was not used for the longest time makes room. All operations take constant time.
package struct BoundedCache<Key: Hashable, Value> {
    private struct Node {
        var key: Key
        var value: Value
        var newer: Int32
        var older: Int32
    }

    private static var none: Int32 { -1 }

    package let capacity: Int
    package private(set) var evictions: UInt64 = 0
    private var indices: [Key: Int32] = [:]
    private var nodes: [Node] = []
    private var newest: Int32 = -1
    private var oldest: Int32 = -1

    package init(capacity: Int) {
        self.capacity = min(max(capacity, 0), Int(Int32.max) - 1)
    }

    package var count: Int { self.indices.count }
    /// In no order.
    package var keys: [Key] { self.nodes.map(\.key) }

    /// The last used ones, the newest first.
    package func newestKeys(_ count: Int) -> [Key] {
        var keys: [Key] = []
        var index = self.newest
        while index != Self.none, keys.count < count {
            keys.append(self.nodes[Int(index)].key)
            index = self.nodes[Int(index)].older
        }
        return keys
    }

    /// The one that would go next.
    package var oldestEntry: (key: Key, value: Value)? {
        guard self.oldest != Self.none else { return nil }
        let node = self.nodes[Int(self.oldest)]
        return (node.key, node.value)
    }

    /// Asking does not count as use.
    package func contains(_ key: Key) -> Bool { self.indices[key] != nil }

    /// Looking at it does not, either.
    package func peek(_ key: Key) -> Value? { self.indices[key].map { self.nodes[Int($0)].value } }

    /// Reading makes an entry the last to go.
    package mutating func value(for key: Key) -> Value? {
        guard let index = self.indices[key] else { return nil }
        self.unlink(index)
        self.linkAsNewest(index)
        return self.nodes[Int(index)].value
    }

    /// Changes an entry that is there, and its rank not.
    package mutating func update(_ key: Key, _ change: (inout Value) -> Void) {
        guard let index = self.indices[key] else { return }
        change(&self.nodes[Int(index)].value)
    }

    package mutating func insert(_ value: Value, for key: Key) {
        guard self.capacity > 0 else { return }
        if let index = self.indices[key] {
            self.nodes[Int(index)].value = value
            self.unlink(index)
            self.linkAsNewest(index)
            return
        }
        if self.indices.count >= self.capacity {
            self.evictions += 1
            self.remove(self.nodes[Int(self.oldest)].key)
        }
        let index = Int32(truncatingIfNeeded: self.nodes.count)
        self.nodes.append(Node(key: key, value: value, newer: Self.none, older: Self.none))
        self.indices[key] = index
        self.linkAsNewest(index)
    }

    @discardableResult
    package mutating func remove(_ key: Key) -> Value? {
        guard let index = self.indices.removeValue(forKey: key) else { return nil }
        self.unlink(index)
        let value = self.nodes[Int(index)].value
        // The last node moves into the gap, so that the nodes lie without holes.
        let last = self.nodes.removeLast()
        let lastIndex = Int32(truncatingIfNeeded: self.nodes.count)
        if lastIndex != index {
            self.nodes[Int(index)] = last
            self.indices[last.key] = index
            if last.newer != Self.none { self.nodes[Int(last.newer)].older = index } else { self.newest = index }
            if last.older != Self.none { self.nodes[Int(last.older)].newer = index } else { self.oldest = index }
        }
        return value
    }

    private mutating func unlink(_ index: Int32) {
        // The node as a whole would be copied, with all that it refers to.
        let newer = self.nodes[Int(index)].newer
        let older = self.nodes[Int(index)].older
        if newer != Self.none { self.nodes[Int(newer)].older = older } else { self.newest = older }
        if older != Self.none { self.nodes[Int(older)].newer = newer } else { self.oldest = newer }
    }

    private mutating func linkAsNewest(_ index: Int32) {
        self.nodes[Int(index)].newer = Self.none
        self.nodes[Int(index)].older = self.newest
        if self.newest != Self.none { self.nodes[Int(self.newest)].newer = index } else { self.oldest = index }
        self.newest = index
    }
}
