/// Subscriptions of one session that wait for retained messages, the oldest first; there may be as many as it has subscriptions.
///
/// Everything takes the same time however many wait, on average: a client may subscribe to all of its filters again and again.
struct RetainedCursorQueue: Sequence {
    private struct Entry {
        var cursor: RetainedCursor
        /// Where the next older one for the same filter was; below zero: there was none.
        var older: Int
        /// It was taken out.
        var isGone = false
    }

    private var entries: [Entry] = []
    /// Of the oldest one. Those before it are done; they leave together.
    private var head = 0
    private(set) var count = 0
    /// Where the newest one for each filter is.
    private var newest: [UInt32: Int] = [:]

    var isEmpty: Bool { self.count == 0 }

    func makeIterator() -> IndexingIterator<[RetainedCursor]> {
        self.entries[self.head...].filter { !$0.isGone }.map(\.cursor).makeIterator()
    }

    /// Whether one waits for the filter with this place.
    func contains(place: UInt32) -> Bool { self.newest[place] != nil }

    mutating func append(_ cursor: RetainedCursor) {
        let older = self.newest.updateValue(self.entries.count, forKey: cursor.place) ?? -1
        self.entries.append(Entry(cursor: cursor, older: older))
        self.count += 1
    }

    /// The oldest; there must be one.
    var first: RetainedCursor {
        get { self.entries[self.head].cursor }
        _modify { yield &self.entries[self.head].cursor }
    }

    /// Those for one filter, which the caller closes.
    mutating func removeAll(place: UInt32) -> [RetainedCursor] {
        guard var index = self.newest.removeValue(forKey: place) else { return [] }
        var removed: [RetainedCursor] = []
        // What was older and is done is before `head`.
        while index >= self.head {
            removed.append(self.entries[index].cursor)
            self.entries[index].isGone = true
            index = self.entries[index].older
        }
        self.count -= removed.count
        self.tidy()
        return removed
    }

    mutating func removeFirst() -> RetainedCursor {
        let cursor = self.first
        if self.newest[cursor.place] == self.head { self.newest[cursor.place] = nil }
        self.entries[self.head].isGone = true
        self.count -= 1
        self.tidy()
        return cursor
    }

    /// `head` is at the oldest one; when more than half of the entries are nothing any more, they leave.
    private mutating func tidy() {
        guard self.count > 0 else {
            self = RetainedCursorQueue()
            return
        }
        while self.entries[self.head].isGone { self.head += 1 }
        guard self.entries.count > 64, self.entries.count > 2 * self.count else { return }
        let kept = Array(self)
        self = RetainedCursorQueue()
        for cursor in kept { self.append(cursor) }
    }
}
