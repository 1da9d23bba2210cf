/// Who is next of the connections that wait for their TLS handshake: first those whose client has shown a ticket, for it is known and
/// its handshake costs a third; but every fourth turn is for the others, so that a new device gets in too.
struct HandshakeQueue {
    private static let turnsOfTickets = 3

    private var withTicket: [Int32] = []
    private var withoutTicket: [Int32] = []
    private var turns = 0

    mutating func append(_ connection: Int32, hasTicket: Bool) {
        if hasTicket { self.withTicket.append(connection) } else { self.withoutTicket.append(connection) }
    }

    /// The next one, which leaves the queue; it may have gone meanwhile.
    mutating func next() -> Int32? {
        if self.withTicket.isEmpty || (self.turns >= Self.turnsOfTickets && !self.withoutTicket.isEmpty) {
            self.turns = 0
            return self.withoutTicket.isEmpty ? nil : self.withoutTicket.removeFirst()
        }
        self.turns += 1
        return self.withTicket.removeFirst()
    }
}
