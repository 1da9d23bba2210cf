import Common

/// The places of a window in which a publisher's messages are, in the order in which they were sent: each until it was acknowledged and is
/// with all who get it, or was refused, or is given up.
struct MessageWindow {
    private struct Place {
        var sentAt: Instant
        /// Acknowledgements and deliveries that have not come; 0: the place is free.
        var awaited: Int
    }

    private var places: [Place] = []
    /// The number of the first of `places`.
    private var base = 0
    /// The first of `places` that may not be free.
    private var head = 0
    /// Places that are taken.
    private(set) var count = 0

    private static let compactedAt = 1024

    /// The next message was sent.
    mutating func add(awaiting awaited: Int, at now: Instant) {
        self.places.append(Place(sentAt: now, awaited: awaited))
        if awaited > 0 { self.count += 1 }
    }

    /// One of the things that the message waits for.
    mutating func came(_ number: Int) {
        guard let index = self.index(number) else { return }
        self.places[index].awaited -= 1
        if self.places[index].awaited == 0 { self.freed() }
    }

    /// Nothing more will come for it.
    mutating func refuse(_ number: Int) {
        guard let index = self.index(number) else { return }
        self.places[index].awaited = 0
        self.freed()
    }

    /// Frees the places of messages that were sent before this moment.
    ///
    /// - Returns: how many there were.
    mutating func giveUp(sentBefore moment: Instant) -> Int {
        let before = self.count
        while self.head < self.places.count, self.places[self.head].sentAt < moment {
            if self.places[self.head].awaited > 0 { self.count -= 1 }
            self.places[self.head].awaited = 0
            self.head += 1
        }
        self.compact()
        return before - self.count
    }

    private func index(_ number: Int) -> Int? {
        let index = number - self.base
        guard index >= self.head, index < self.places.count, self.places[index].awaited > 0 else { return nil }
        return index
    }

    private mutating func freed() {
        self.count -= 1
        while self.head < self.places.count, self.places[self.head].awaited == 0 { self.head += 1 }
        self.compact()
    }

    private mutating func compact() {
        guard self.head == self.places.count || self.head >= Swift.max(Self.compactedAt, self.places.count / 2) else {
            return
        }
        self.places.removeFirst(self.head)
        self.base += self.head
        self.head = 0
    }
}
