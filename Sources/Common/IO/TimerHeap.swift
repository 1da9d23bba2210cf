/// A binary heap of deadlines, earliest first; those of the same instant in the order of their sequence numbers.
public struct TimerHeap {
    private struct Entry {
        var deadline: Instant
        var sequence: UInt64
    }

    private var entries: [Entry] = []
    private var positions: [UInt64: Int] = [:]

    public init() {}

    public var count: Int { self.entries.count }
    public var earliest: Instant? { self.entries.first?.deadline }

    /// Sequence numbers are the caller's and must be unique.
    public mutating func insert(deadline: Instant, sequence: UInt64) {
        self.entries.append(Entry(deadline: deadline, sequence: sequence))
        self.positions[sequence] = self.entries.count - 1
        self.siftUp(self.entries.count - 1)
    }

    /// The sequence number of the earliest entry, which is taken out.
    public mutating func removeEarliest() -> UInt64 {
        precondition(!self.entries.isEmpty, "no timer to remove")
        let sequence = self.entries[0].sequence
        self.remove(at: 0)
        return sequence
    }

    public mutating func remove(sequence: UInt64) {
        guard let position = self.positions[sequence] else { return }
        self.remove(at: position)
    }

    private mutating func remove(at position: Int) {
        self.positions[self.entries[position].sequence] = nil
        let last = self.entries.removeLast()
        guard position < self.entries.count else { return }
        self.entries[position] = last
        self.positions[last.sequence] = position
        self.siftUp(position)
        self.siftDown(position)
    }

    private static func isBefore(_ left: Entry, _ right: Entry) -> Bool {
        (left.deadline, left.sequence) < (right.deadline, right.sequence)
    }

    private mutating func swap(_ left: Int, _ right: Int) {
        self.entries.swapAt(left, right)
        self.positions[self.entries[left].sequence] = left
        self.positions[self.entries[right].sequence] = right
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.isBefore(self.entries[child], self.entries[parent]) else { return }
            self.swap(child, parent)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < self.entries.count {
                if Self.isBefore(self.entries[child], self.entries[smallest]) { smallest = child }
            }
            if smallest == parent { return }
            self.swap(parent, smallest)
            parent = smallest
        }
    }
}
