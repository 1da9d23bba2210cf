/// Who is next of the connections that wait for their TLS handshake: first those whose client has shown a ticket, for it is known and
/// its handshake costs a third; but every fourth turn is for the others, so that a new device gets in too.
struct HandshakeQueue {
    private struct Line {
        private var items: [Int32] = []
        private var head = 0

        var isEmpty: Bool { self.head == self.items.count }

        mutating func append(_ item: Int32) {
            self.items.append(item)
        }

        mutating func popFirst() -> Int32? {
            guard self.head < self.items.count else { return nil }
            defer {
                self.head += 1
                if self.head * 2 > self.items.count, self.head > 64 || self.head == self.items.count {
                    self.items.removeFirst(self.head)
                    self.head = 0
                }
            }
            return self.items[self.head]
        }
    }

    private static let turnsOfTickets = 3

    private var withTicket = Line()
    private var withoutTicket = Line()
    private var turns = 0

    mutating func append(_ connection: Int32, hasTicket: Bool) {
        if hasTicket { self.withTicket.append(connection) } else { self.withoutTicket.append(connection) }
    }

    /// The next one, which leaves the queue; it may have gone meanwhile.
    mutating func next() -> Int32? {
        if self.withTicket.isEmpty || (self.turns >= Self.turnsOfTickets && !self.withoutTicket.isEmpty) {
            self.turns = 0
            return self.withoutTicket.popFirst()
        }
        self.turns += 1
        return self.withTicket.popFirst()
    }
}
