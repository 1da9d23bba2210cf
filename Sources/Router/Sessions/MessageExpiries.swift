import Common

/// Which messages of one queue expire and when, soonest first: a heap of eight bytes for each of them. Messages that never expire are
/// not in here.
///
/// ```
///  | when it has expired, in steps: 32 bits | its number in the queue: 32 bits |
/// ```
///
/// What leaves the queue in another way stays in here, until the queue has it looked for (`keepOnly`), or its time comes.
struct MessageExpiries {
    /// How exact it is: an expired message is one at most so much later. 32 bits of it are 34 years.
    static let stepNanoseconds = 250 * Nanoseconds.perMillisecond

    private var keys: [UInt64] = []

    var count: Int { self.keys.count }

    /// When the first message has expired.
    var earliest: Instant? { self.keys.first.map { ($0 >> 32) * Self.stepNanoseconds } }

    mutating func add(_ expiry: Instant, number: UInt32) {
        let (whole, rest) = expiry.quotientAndRemainder(dividingBy: Self.stepNanoseconds)
        let step = rest == 0 ? whole : whole + 1
        // Nobody will see that.
        guard step <= UInt64(UInt32.max) else { return }
        self.keys.append(step << 32 | UInt64(number))
        self.siftUp(self.keys.count - 1)
    }

    /// - Returns: the number of a message that has expired, which is taken out; nil: none has.
    mutating func popDue(_ now: Instant) -> UInt32? {
        guard let earliest = self.earliest, earliest <= now else { return nil }
        let number = UInt32(truncatingIfNeeded: self.keys[0])
        let last = self.keys.removeLast()
        if !self.keys.isEmpty {
            self.keys[0] = last
            self.siftDown(0)
        }
        return number
    }

    /// Has each message numbered anew; those for which there is no number go.
    mutating func keepOnly(_ renumbered: (UInt32) -> UInt32?) {
        var kept: [UInt64] = []
        for key in self.keys {
            guard let number = renumbered(UInt32(truncatingIfNeeded: key)) else { continue }
            kept.append(key & 0xFFFF_FFFF_0000_0000 | UInt64(number))
        }
        self.keys = kept
        for place in stride(from: kept.count / 2 - 1, through: 0, by: -1) { self.siftDown(place) }
    }

    /// A few places are kept: a busy session's queue empties many times a second.
    mutating func removeAll() {
        self.keys.removeAll(keepingCapacity: self.keys.capacity <= 64)
    }

    private mutating func siftUp(_ start: Int) {
        let key = self.keys[start]
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard key < self.keys[parent] else { break }
            self.keys[place] = self.keys[parent]
            place = parent
        }
        self.keys[place] = key
    }

    private mutating func siftDown(_ start: Int) {
        let key = self.keys[start]
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < self.keys.count else { break }
            if child + 1 < self.keys.count, self.keys[child + 1] < self.keys[child] { child += 1 }
            guard self.keys[child] < key else { break }
            self.keys[place] = self.keys[child]
            place = child
        }
        self.keys[place] = key
    }
}
