import Common

/// Messages that wait for one session, in order. The caller keeps it within limits; it holds no memory while empty.
///
/// ```
///             head                                   A ring. Each place has a number, counted on from `headNumber`, by which
///              ▼                                     `expiries` names the messages that expire. A message that goes while others
///  |     |     | m | m |   | m |   |   | m |    |    are before it leaves a gap; there is none at either end. When gaps are a
///              ◀───────── span ───────────▶          quarter of a ring that is full, or most of the span, they are closed.
/// ```
struct SessionQueue {
    private var items: [QueuedMessage?] = []
    private var head = 0
    private var headNumber: UInt32 = 0
    /// Gaps included.
    private var span: UInt32 = 0
    private(set) var count = 0
    /// Of the messages in here, as `Message.countedBytes` has it.
    private(set) var bytes = 0
    /// Messages in here that the store has.
    private(set) var storedCount = 0
    private var expiries = MessageExpiries()

    var isEmpty: Bool { self.count == 0 }

    var first: QueuedMessage? { self.count == 0 ? nil : self.items[self.head] }

    /// Those behind the first `position` ones, in order, so many at most.
    func messages(behind position: Int, atMost countMax: Int) -> [QueuedMessage] {
        var found: [QueuedMessage] = []
        var toPass = position
        for offset in 0..<Int(self.span) {
            guard found.count < countMax else { break }
            guard let item = self.items[self.place(offset)] else { continue }
            if toPass > 0 { toPass -= 1 } else { found.append(item) }
        }
        return found
    }

    /// Nothing in here has expired, as `MessageExpiries` counts, before that; nil: nothing in here expires.
    var earliestExpiry: Instant? { self.expiries.earliest }

    /// Memory in use, in places: for messages, and for their expiries.
    var heldPlaces: (messages: Int, expiries: Int) { (self.items.count, self.expiries.count) }

    mutating func append(_ item: QueuedMessage) {
        if Int(self.span) == self.items.count { self.makeRoom() }
        let offset = self.span
        self.items[self.place(Int(offset))] = item
        self.span += 1
        self.count += 1
        self.bytes += item.message.countedBytes
        if item.number != 0 { self.storedCount += 1 }
        let expiry = item.message.header.expiry
        guard expiry != Instant.max else { return }
        self.expiries.add(expiry, number: self.headNumber &+ offset)
        if self.expiries.count > 2 * self.count + 64 { self.forgetExpiries() }
    }

    /// Has each message changed, but for its length and its expiry.
    mutating func updateEach(_ body: (inout QueuedMessage) -> Void) {
        self.storedCount = 0
        for offset in 0..<Int(self.span) {
            let place = self.place(offset)
            guard var item = self.items[place] else { continue }
            body(&item)
            if item.number != 0 { self.storedCount += 1 }
            self.items[place] = item
        }
    }

    @discardableResult
    mutating func removeFirst() -> QueuedMessage? {
        guard self.count > 0 else { return nil }
        return self.remove(at: 0)
    }

    /// Takes out a message that has expired, wherever it is: one that did so first. Costs the logarithm of how many expire, and on average
    /// nothing for the others.
    mutating func removeExpired(_ now: Instant) -> QueuedMessage? {
        while let number = self.expiries.popDue(now) {
            let offset = number &- self.headNumber
            guard offset < self.span, let item = self.items[self.place(Int(offset))], item.message.header.expiry <= now
            else { continue }
            return self.remove(at: Int(offset))
        }
        return nil
    }

    func forEach(_ body: (QueuedMessage) -> Void) {
        for offset in 0..<Int(self.span) {
            if let item = self.items[self.place(offset)] { body(item) }
        }
    }

    func contains(exchange: UInt64) -> Bool {
        self.items.contains { $0?.message.header.exchange == exchange }
    }

    /// Keeps what `isWanted` likes, in order; returns how many were thrown out.
    mutating func removeAll(unless isWanted: (QueuedMessage) -> Bool) -> Int {
        var kept = SessionQueue()
        let before = self.count
        while let item = self.removeFirst() {
            if isWanted(item) { kept.append(item) }
        }
        self = kept
        return before - self.count
    }

    private func place(_ offset: Int) -> Int { (self.head + offset) & (self.items.count - 1) }

    private mutating func remove(at offset: Int) -> QueuedMessage? {
        guard let item = self.items[self.place(offset)].take() else { return nil }
        self.count -= 1
        self.bytes -= item.message.countedBytes
        if item.number != 0 { self.storedCount -= 1 }
        if self.count == 0 {
            self.releaseMemory()
        } else if offset == 0 {
            repeat {
                self.head = self.place(1)
                self.headNumber &+= 1
                self.span -= 1
            } while Int(self.span) != self.count && self.items[self.head] == nil
        } else {
            while self.items[self.place(Int(self.span) - 1)] == nil { self.span -= 1 }
            let gaps = Int(self.span) - self.count
            if gaps > 64, gaps * 4 > Int(self.span) * 3 { self.move(to: Self.ringSize(for: 2 * self.count)) }
        }
        return item
    }

    private static func ringSize(for count: Int) -> Int {
        1 << (Int.bitWidth - max(3, count - 1).leadingZeroBitCount)
    }

    private mutating func makeRoom() {
        let size = self.items.count
        let gaps = Int(self.span) - self.count
        self.move(to: size > 0 && gaps * 4 >= size ? size : max(4, size * 2))
    }

    /// Moves what is in here to a ring of that size, without gaps.
    private mutating func move(to size: Int) {
        var moved: [QueuedMessage?] = []
        moved.reserveCapacity(size)
        /// Of each place, gaps too.
        var numbers: [UInt32] = []
        let hasGaps = Int(self.span) != self.count && self.expiries.count > 0
        for offset in 0..<Int(self.span) {
            if hasGaps { numbers.append(UInt32(truncatingIfNeeded: moved.count)) }
            if let item = self.items[self.place(offset)].take() { moved.append(item) }
        }
        while moved.count < size { moved.append(nil) }
        if hasGaps {
            let (from, span) = (self.headNumber, self.span)
            self.expiries.keepOnly { $0 &- from < span ? numbers[Int($0 &- from)] : nil }
            self.headNumber = 0
        }
        self.items = moved
        self.head = 0
        self.span = UInt32(truncatingIfNeeded: self.count)
    }

    /// Most of what expires was sent before.
    private mutating func forgetExpiries() {
        let (from, span) = (self.headNumber, self.span)
        self.expiries.keepOnly { $0 &- from < span ? $0 : nil }
    }

    /// A small ring is kept: a busy session's queue empties many times a second.
    private mutating func releaseMemory() {
        if self.items.count > 64 { self.items = [] }
        self.head = 0
        self.span = 0
        self.expiries.removeAll()
    }
}
