/// The QoS 2 messages of one client that wait for their PUBREL, in no order. Finding one is a look through all of them while they are
/// few, which is nearly always, and a look into a table beyond that: MQTT 3 knows no limit but that of the identifiers, 65,535.
struct ReceivedMessages: Sequence {
    /// As many are looked through in less time than a table's memory is worth.
    static let tableFrom = 128

    private var items: [Session.ReceivedMessage] = []
    /// Where each is, by packet identifier; nil while they are few.
    private var places: [UInt16: UInt16]?

    var count: Int { self.items.count }
    var isEmpty: Bool { self.items.isEmpty }
    var last: Session.ReceivedMessage? { self.items.last }
    /// Entries that finding one looks at, at most.
    var lookedAtMax: Int { self.places == nil ? self.items.count : 1 }

    func makeIterator() -> IndexingIterator<[Session.ReceivedMessage]> { self.items.makeIterator() }

    subscript(_ position: Int) -> Session.ReceivedMessage {
        get { self.items[position] }
        // Its packet identifier stays.
        set { self.items[position] = newValue }
    }

    func firstIndex(of identifier: UInt16) -> Int? {
        if let places = self.places { return places[identifier].map { Int($0) } }
        return self.items.firstIndex { $0.packetIdentifier == identifier }
    }

    /// To be called for an identifier that is not there.
    mutating func append(_ item: Session.ReceivedMessage) {
        self.items.append(item)
        if self.places != nil {
            self.places?[item.packetIdentifier] = UInt16(truncatingIfNeeded: self.items.count - 1)
        } else if self.items.count >= Self.tableFrom {
            self.makeTable()
        }
    }

    private mutating func makeTable() {
        var places: [UInt16: UInt16] = [:]
        for (position, item) in self.items.enumerated() {
            places[item.packetIdentifier] = UInt16(truncatingIfNeeded: position)
        }
        self.places = places
    }

    /// The last one takes its place.
    mutating func remove(at position: Int) -> Session.ReceivedMessage {
        let last = self.items.removeLast()
        guard position < self.items.count else {
            self.removed(last)
            return last
        }
        let removed = self.items[position]
        self.items[position] = last
        if self.places != nil { self.places?[last.packetIdentifier] = UInt16(truncatingIfNeeded: position) }
        self.removed(removed)
        return removed
    }

    private mutating func removed(_ item: Session.ReceivedMessage) {
        guard self.places != nil else { return }
        self.places?[item.packetIdentifier] = nil
        guard self.items.count < Self.tableFrom / 2 else { return }
        self.places = nil
        // What a burst took goes back with it.
        self.items = self.items.map { $0 }
    }
}
