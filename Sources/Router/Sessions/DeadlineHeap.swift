import Common

/// At most one deadline per small number (a session's or a retained message's index), earliest first; changes and removals
/// cost the logarithm of their count, and nothing stays behind.
struct DeadlineHeap {
    private struct Entry {
        var deadline: Instant
        var index: UInt32
    }

    private static let absent = UInt32.max
    private var entries: [Entry] = []
    /// Place in `entries` by index.
    private var places: [UInt32] = []

    var count: Int { self.entries.count }
    var earliest: Instant? { self.entries.first?.deadline }
    var first: (index: UInt32, deadline: Instant)? { self.entries.first.map { ($0.index, $0.deadline) } }

    /// That of `index`; nil: it has none.
    func deadline(of index: UInt32) -> Instant? {
        guard Int(index) < self.places.count, self.places[Int(index)] != Self.absent else { return nil }
        return self.entries[Int(self.places[Int(index)])].deadline
    }

    /// Sets, changes or (with nil) takes away the deadline of `index`.
    mutating func set(_ index: UInt32, deadline: Instant?) {
        let number = Int(index)
        if number >= self.places.count {
            guard deadline != nil else { return }
            while self.places.count <= number { self.places.append(Self.absent) }
        }
        let place = self.places[number]
        guard let deadline else {
            if place != Self.absent { self.remove(at: Int(place)) }
            return
        }
        if place == Self.absent {
            self.entries.append(Entry(deadline: deadline, index: index))
            self.places[number] = UInt32(truncatingIfNeeded: self.entries.count - 1)
            self.siftUp(self.entries.count - 1)
        } else {
            self.entries[Int(place)].deadline = deadline
            self.siftUp(Int(place))
            self.siftDown(Int(self.places[number]))
        }
    }

    /// The index of the earliest deadline if it is not after `now`; it is taken out.
    mutating func popDue(_ now: Instant) -> UInt32? {
        guard let first = self.entries.first, first.deadline <= now else { return nil }
        self.remove(at: 0)
        return first.index
    }

    private mutating func remove(at place: Int) {
        self.places[Int(self.entries[place].index)] = Self.absent
        let last = self.entries.removeLast()
        guard place < self.entries.count else { return }
        self.put(last, at: place)
        self.siftUp(place)
        self.siftDown(Int(self.places[Int(last.index)]))
    }

    private mutating func put(_ entry: Entry, at place: Int) {
        self.entries[place] = entry
        self.places[Int(entry.index)] = UInt32(truncatingIfNeeded: place)
    }

    private mutating func siftUp(_ start: Int) {
        let entry = self.entries[start]
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard entry.deadline < self.entries[parent].deadline else { break }
            self.put(self.entries[parent], at: place)
            place = parent
        }
        self.put(entry, at: place)
    }

    private mutating func siftDown(_ start: Int) {
        let entry = self.entries[start]
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < self.entries.count else { break }
            if child + 1 < self.entries.count, self.entries[child + 1].deadline < self.entries[child].deadline {
                child += 1
            }
            guard self.entries[child].deadline < entry.deadline else { break }
            self.put(self.entries[child], at: place)
            place = child
        }
        self.put(entry, at: place)
    }
}
