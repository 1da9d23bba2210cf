/// Subscriptions of one session that wait for retained messages, the oldest first; there may be as many as it has subscriptions.
struct RetainedCursorQueue: Sequence {
    private var cursors: [RetainedCursor] = []
    /// Those before it are done; they leave together.
    private var head = 0
    /// How many wait for each filter.
    private var places: [UInt32: Int] = [:]

    var count: Int { self.cursors.count - self.head }
    var isEmpty: Bool { self.count == 0 }

    func makeIterator() -> IndexingIterator<ArraySlice<RetainedCursor>> { self.cursors[self.head...].makeIterator() }

    /// Whether one waits for the filter with this place.
    func contains(place: UInt32) -> Bool { self.places[place] != nil }

    mutating func append(_ cursor: RetainedCursor) {
        self.cursors.append(cursor)
        self.places[cursor.place, default: 0] += 1
    }

    /// The oldest; there must be one.
    var first: RetainedCursor {
        get { self.cursors[self.head] }
        _modify { yield &self.cursors[self.head] }
    }

    /// Those for one filter, which the caller closes.
    mutating func removeAll(place: UInt32) -> [RetainedCursor] {
        guard self.places.removeValue(forKey: place) != nil else { return [] }
        let removed = self.filter { $0.place == place }
        self.cursors = self.filter { $0.place != place }
        self.head = 0
        return removed
    }

    mutating func removeFirst() -> RetainedCursor {
        let cursor = self.cursors[self.head]
        self.head += 1
        if let count = self.places[cursor.place] { self.places[cursor.place] = count > 1 ? count - 1 : nil }
        if self.head == self.cursors.count {
            self.cursors = []
            self.head = 0
        } else if self.head >= 64, self.head * 2 >= self.cursors.count {
            self.cursors.removeFirst(self.head)
            self.head = 0
        }
        return cursor
    }
}
