import Common

/// Messages that wait for one session, in order. The caller keeps it within limits; it holds no memory while empty.
struct SessionQueue {
    private var items: [QueuedMessage?] = []
    private var head = 0
    private(set) var count = 0
    /// Of the messages in here, as `Message.countedBytes` has it.
    private(set) var bytes = 0
    /// Messages in here that the store has.
    private(set) var storedCount = 0

    var isEmpty: Bool { self.count == 0 }

    var first: QueuedMessage? { self.count == 0 ? nil : self.items[self.head] }

    /// Counted from the first one, at 0; nil beyond the last.
    func item(at position: Int) -> QueuedMessage? {
        position < self.count ? self.items[(self.head + position) & (self.items.count - 1)] : nil
    }

    mutating func append(_ item: QueuedMessage) {
        if self.count == self.items.count { self.grow() }
        self.items[(self.head + self.count) & (self.items.count - 1)] = item
        self.count += 1
        self.bytes += item.message.countedBytes
        if item.number != 0 { self.storedCount += 1 }
    }

    /// Has each message changed, but for its length.
    mutating func updateEach(_ body: (inout QueuedMessage) -> Void) {
        self.storedCount = 0
        for position in 0..<self.count {
            let place = (self.head + position) & (self.items.count - 1)
            guard var item = self.items[place] else { continue }
            body(&item)
            if item.number != 0 { self.storedCount += 1 }
            self.items[place] = item
        }
    }

    @discardableResult
    mutating func removeFirst() -> QueuedMessage? {
        guard self.count > 0, let item = self.items[self.head] else { return nil }
        self.items[self.head] = nil
        self.head = (self.head + 1) & (self.items.count - 1)
        self.count -= 1
        self.bytes -= item.message.countedBytes
        if item.number != 0 { self.storedCount -= 1 }
        if self.count == 0 { self.releaseMemory() }
        return item
    }

    func forEach(_ body: (QueuedMessage) -> Void) {
        for position in 0..<self.count {
            if let item = self.items[(self.head + position) & (self.items.count - 1)] { body(item) }
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

    private mutating func grow() {
        var larger: [QueuedMessage?] = []
        larger.reserveCapacity(max(4, self.items.count * 2))
        for position in 0..<self.count { larger.append(self.items[(self.head + position) & (self.items.count - 1)]) }
        while larger.count < max(4, self.items.count * 2) { larger.append(nil) }
        self.items = larger
        self.head = 0
    }

    /// A small ring is kept: a busy session's queue empties many times a second.
    private mutating func releaseMemory() {
        if self.items.count > 64 { self.items = [] }
        self.head = 0
    }
}
