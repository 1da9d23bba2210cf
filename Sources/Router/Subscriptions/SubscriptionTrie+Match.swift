import Common

/// A node still to be looked at, and how many levels of the topic lead to it.
struct PendingNode: BitwiseCopyable {
    var node: UInt32
    var depth: UInt32
}

extension SubscriptionTrie {
    /// Collects who gets a message on a topic.
    ///
    /// Each level can double the nodes to be looked at, whoever made the filters: beyond `RouterLimits.matchNodesMax` the match is given
    /// up, and nobody is found.
    /// - Parameters:
    ///   - topic: a valid topic name, no wildcards in it.
    ///   - publisher: the session it comes from, for No Local; `noSession` if none.
    /// - Returns: false when it was given up.
    @discardableResult
    mutating func match(
        topic: UnsafeRawBufferPointer,
        publisher: UInt32 = SubscriptionTrie.noSession,
        into result: inout MatchResult
    ) -> Bool {
        result.clear()
        self.beginMatch(topic)
        let depthMax = UInt32(truncatingIfNeeded: self.topicLevels.count)
        // [MQTT-4.7.2-1]: a wildcard in the first level does not match topics that begin with `$`.
        let isDollar = topic.first == 0x24

        var remaining = RouterLimits.matchNodesMax
        while let current = self.pending.popLast() {
            remaining &-= 1
            if remaining < 0 { break }
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
        self.nodesVisited = RouterLimits.matchNodesMax - remaining
        guard remaining >= 0 else {
            result.clear()
            return false
        }
        result.finish()
        return true
    }

    /// Whether matching a topic cannot be given up, which is said without trying: true of nearly all.
    func isMatchBounded(_ topic: UnsafeRawBufferPointer) -> Bool {
        self.nodeCount < RouterLimits.matchNodesMax || TopicName.levelCount(topic) <= RouterLimits.matchLevelsFree
    }

    /// Whether a session's subscriptions, those through shared groups too, bring it messages on a topic. No Local is not looked at. As much
    /// is looked at as in `match`, other sessions' filters too; a topic for which that is given up brings nobody anything.
    /// - Parameter topic: a valid topic name.
    mutating func brings(topic: UnsafeRawBufferPointer, to session: Session) -> Bool {
        self.beginMatch(topic)
        let depthMax = UInt32(truncatingIfNeeded: self.topicLevels.count)
        let isDollar = topic.first == 0x24
        self.nodesVisited = 0
        while self.nodesVisited < RouterLimits.matchNodesMax, let current = self.pending.popLast() {
            self.nodesVisited += 1
            let children = self.nodes[current.node].children
            let wildcardsApply = !(isDollar && current.depth == 0)
            if children & Node.hasHashChild != 0, wildcardsApply,
                self.isSubscribed(self.child(of: current.node, level: Self.hashLevel), session)
            {
                return true
            }
            if current.depth == depthMax {
                if self.isSubscribed(current.node, session) { return true }
                continue
            }
            if children & Node.hasPlusChild != 0, wildcardsApply {
                let plus = self.child(of: current.node, level: Self.plusLevel)
                self.pending.append(PendingNode(node: plus, depth: current.depth + 1))
            }
            let exact = self.child(of: current.node, level: self.topicLevels[Int(current.depth)])
            if exact != 0 { self.pending.append(PendingNode(node: exact, depth: current.depth + 1)) }
        }
        return false
    }

    private mutating func isSubscribed(_ index: UInt32, _ session: Session) -> Bool {
        if self.subscription(node: index, session: session.index) != nil { return true }
        guard self.nodes[index].children & Node.hasGroups != 0 else { return false }
        var isMember = false
        var groups = 0
        self.groups.forEach(of: index) { group in
            groups += 1
            isMember = isMember || session.subscriptions.contains(Session.Subscription(place: group, isShared: true))
        }
        self.nodesVisited += groups
        return isMember
    }

    @inline(__always)
    private mutating func beginMatch(_ topic: UnsafeRawBufferPointer) {
        self.topicLevels.removeAll(keepingCapacity: true)
        var splitter = LevelSplitter(topic)
        while let text = splitter.next() { self.topicLevels.append(self.levels.find(text)) }
        self.pending.removeAll(keepingCapacity: true)
        self.pending.append(PendingNode(node: Self.root, depth: 0))
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
        if node.children & Node.hasGroups != 0 { self.groups.forEach(of: index) { result.add(group: $0) } }
    }
}
