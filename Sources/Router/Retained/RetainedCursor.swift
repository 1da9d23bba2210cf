import Common

/// One subscriber's way through the retained messages that match its filter: it stops when credit runs out, goes on where it
/// stopped, and copes with every change made meanwhile.
struct RetainedCursor {
    enum Step {
        case message(Message)
        /// The budget of nodes to look at is used up: ask again.
        case paused
        case finished
    }

    /// The filter's levels; a nil text is `+`.
    private let levels: [[UInt8]?]
    /// The filter ends in `#`, which is not among `levels`.
    private let endsInHash: Bool
    /// Messages stored later are left out: the session gets them live.
    private let sequence: UInt64
    private var node = RetainedStore.root
    private var depth = 0
    private var isFinished = false
    let options: Subscriber.Options
    /// Of the subscription.
    let place: UInt32
    /// The store knows that it is not finished.
    let isRecorded: Bool

    init(
        filter: UnsafeRawBufferPointer,
        options: Subscriber.Options,
        place: UInt32 = 0,
        isRecorded: Bool = false,
        store: inout RetainedStore
    ) {
        self.place = place
        self.isRecorded = isRecorded
        var levels: [[UInt8]?] = []
        var endsInHash = false
        var splitter = LevelSplitter(filter)
        while let text = splitter.next() {
            if text.count == 1, text[0] == 0x23 {
                endsInHash = true
            } else {
                levels.append(text.count == 1 && text[0] == 0x2B ? nil : [UInt8](text))
            }
        }
        self.levels = levels
        self.endsInHash = endsInHash
        self.options = options
        self.sequence = store.sequence
        store.pin(self.node)
    }

    /// Lets go of the node it stands on; to be called once, and not after `finished`.
    mutating func close(_ store: inout RetainedStore) {
        guard !self.isFinished else { return }
        self.isFinished = true
        store.unpin(self.node)
    }

    /// The next matching message. `budget` is the number of nodes it may look at, and is counted down.
    mutating func next(_ store: inout RetainedStore, budget: inout Int) -> Step {
        while !self.isFinished {
            guard budget > 0 else { return .paused }
            budget -= 1
            guard let found = self.following(store) else {
                self.close(&store)
                break
            }
            let former = self.node
            self.node = found.node
            self.depth = found.depth
            store.pin(self.node)
            store.unpin(former)
            let isMatch = self.endsInHash ? self.depth >= self.levels.count : self.depth == self.levels.count
            if isMatch, !self.isHidden(store), let message = store.message(at: self.node, notAfter: self.sequence) {
                return .message(message)
            }
        }
        return .finished
    }

    /// The node after the current one in the order "parent, then children", among those the filter leads to.
    private func following(_ store: borrowing RetainedStore) -> (node: UInt32, depth: Int)? {
        if let child = self.firstChild(store) { return (child, self.depth + 1) }
        var node = self.node
        var depth = self.depth
        while depth > 0 {
            let level = depth - 1
            if level >= self.levels.count || self.levels[level] == nil {
                let sibling = store.nodes[node].nextSibling
                if sibling != 0 { return (sibling, depth) }
            }
            node = store.nodes[node].parent
            depth -= 1
        }
        return nil
    }

    private func firstChild(_ store: borrowing RetainedStore) -> UInt32? {
        if self.isHidden(store) { return nil }
        var child: UInt32 = 0
        if self.depth < self.levels.count, let text = self.levels[self.depth] {
            child = text.withUnsafeBytes { store.child(of: self.node, level: store.levels.find($0)) }
        } else if self.depth < self.levels.count || self.endsInHash {
            child = store.nodes[self.node].firstChild
        }
        return child == 0 ? nil : child
    }

    /// Wildcards do not match a first level that begins with `$` [MQTT-4.7.2-1]. Such a node is stepped over like any other, so
    /// that it counts against the budget.
    private func isHidden(_ store: borrowing RetainedStore) -> Bool {
        guard self.depth == 1, self.levels.first == .some(nil) || self.levels.isEmpty else { return false }
        return store.levels.beginsWithDollar(store.nodes[self.node].level)
    }
}
