/// A node still to be looked at, and how many levels of the topic lead to it.
struct PendingNode: BitwiseCopyable {
    var node: UInt32
    var depth: UInt32
}

extension SubscriptionTrie {
    /// Collects who gets a message on a topic.
    /// - Parameters:
    ///   - topic: a valid topic name, no wildcards in it.
    ///   - publisher: the session it comes from, for No Local; `noSession` if none.
    mutating func match(
        topic: UnsafeRawBufferPointer,
        publisher: UInt32 = SubscriptionTrie.noSession,
        into result: inout MatchResult
    ) {
        result.clear()
        self.topicLevels.removeAll(keepingCapacity: true)
        var splitter = LevelSplitter(topic)
        while let text = splitter.next() { self.topicLevels.append(self.levels.find(text)) }
        let depthMax = UInt32(truncatingIfNeeded: self.topicLevels.count)
        // [MQTT-4.7.2-1]: a wildcard in the first level does not match topics that begin with `$`.
        let isDollar = topic.first == 0x24

        var visited = 0
        self.pending.removeAll(keepingCapacity: true)
        self.pending.append(PendingNode(node: Self.root, depth: 0))
        while let current = self.pending.popLast() {
            visited += 1
            let node = self.nodes[current.node]
            let children = node.children
            let wildcardsApply = !(isDollar && current.depth == 0)
            if children & Node.hasHashChild != 0, wildcardsApply {
                // "#" matches what follows, and nothing following, too.
                self.collect(self.child(of: current.node, level: Self.hashLevel), publisher, &result)
            }
            if current.depth == depthMax {
                self.collect(current.node, publisher, &result)
                continue
            }
            if children & Node.childCountMask == 0 { continue }
            if children & Node.hasPlusChild != 0, wildcardsApply {
                let plus = self.child(of: current.node, level: Self.plusLevel)
                self.pending.append(PendingNode(node: plus, depth: current.depth + 1))
            }
            let exact = self.child(of: current.node, level: self.topicLevels[Int(current.depth)])
            if exact != 0 { self.pending.append(PendingNode(node: exact, depth: current.depth + 1)) }
        }
        self.nodesVisited = visited
        result.finish()
    }

    @inline(__always)
    private func collect(_ index: UInt32, _ publisher: UInt32, _ result: inout MatchResult) {
        let node = self.nodes[index]
        if node.subscriberCount == 1 {
            withUnsafePointer(to: node.subscriber) {
                result.add(UnsafeBufferPointer(start: $0, count: 1), publisher: publisher)
            }
        } else if node.subscriberCount > 1 {
            self.lists[Int(node.subscriber.session)].withUnsafeBufferPointer { result.add($0, publisher: publisher) }
        }
        if node.children & Node.hasGroups != 0, let groups = self.groupsOfNode[index] {
            for group in groups { result.add(group: group) }
        }
    }
}
