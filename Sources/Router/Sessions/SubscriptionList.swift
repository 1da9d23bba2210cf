/// The subscriptions of one session, in no order. Finding one is a look through all of them while they are few, which is nearly always,
/// and a look into a table beyond that: a bridge may have a hundred thousand.
struct SubscriptionList: Sequence {
    /// As many are looked through in less time than a table's memory is worth.
    static let tableFrom = 256

    private var items: [Session.Subscription] = []
    /// Where each is; nil while they are few.
    private var places: [Key: Int32]?
    /// Of all of them together. Only adding and removing one changes it, each by what that one carries.
    private(set) var countedBytes = 0

    private struct Key: Hashable {
        var place: UInt32
        var isShared: Bool
    }

    var count: Int { self.items.count }

    func makeIterator() -> IndexingIterator<[Session.Subscription]> { self.items.makeIterator() }

    subscript(_ position: Int) -> Session.Subscription { self.items[position] }

    private static func key(_ item: Session.Subscription) -> Key { Key(place: item.place, isShared: item.isShared) }

    func firstIndex(of item: Session.Subscription) -> Int? {
        if let places = self.places { return places[Self.key(item)].map { Int($0) } }
        return self.items.firstIndex(of: item)
    }

    func contains(_ item: Session.Subscription) -> Bool { self.firstIndex(of: item) != nil }

    /// To be called for one that is not there.
    mutating func append(_ item: Session.Subscription) {
        self.items.append(item)
        self.countedBytes += Int(item.countedBytes)
        if self.places != nil {
            self.places?[Self.key(item)] = Int32(truncatingIfNeeded: self.items.count - 1)
        } else if self.items.count >= Self.tableFrom {
            var places: [Key: Int32] = [:]
            for (position, item) in self.items.enumerated() {
                places[Self.key(item)] = Int32(truncatingIfNeeded: position)
            }
            self.places = places
        }
    }

    mutating func setNumber(_ number: UInt32, at position: Int) {
        self.items[position].number = number
    }

    /// The last one takes its place.
    mutating func remove(at position: Int) {
        let removed = self.items[position]
        self.countedBytes -= Int(removed.countedBytes)
        let last = self.items.removeLast()
        if position < self.items.count {
            self.items[position] = last
            self.places?[Self.key(last)] = Int32(truncatingIfNeeded: position)
        }
        self.places?[Self.key(removed)] = nil
        if self.items.count < Self.tableFrom / 2 { self.places = nil }
    }

    mutating func removeAll() {
        self.items = []
        self.places = nil
        self.countedBytes = 0
    }
}
