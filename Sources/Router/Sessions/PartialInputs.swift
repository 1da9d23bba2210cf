import Common

/// Packets over 64 KiB of which parts have come through one link, by where their clients are. When there is no room for more of them, one
/// gives way of the source with the most bytes: who fills the room takes it from himself.
///
/// Everything costs the logarithm of their number, and nothing stays behind of what has left.
struct PartialInputs {
    /// Where a packet is in here.
    struct Place {
        fileprivate var source: Int
        fileprivate var member: UInt32
    }

    private struct Source {
        var name: ConnectionSource
        var bytes = 0
        /// Sessions by the number that each has here.
        var members: [UInt32] = []
        var freeMembers: [UInt32] = []
        /// When each one's packet will have come too slowly.
        var slowAt = DeadlineHeap()
    }

    private(set) var bytes = 0
    private(set) var count = 0
    private var sources: [Source?] = []
    private var freeSources: [Int] = []
    private var numbers: [ConnectionSource: Int] = [:]
    /// The one with the most bytes is first.
    private var byBytes = DeadlineHeap()

    /// - Parameter slowAt: when the packet will have come too slowly.
    mutating func insert(_ session: UInt32, from name: ConnectionSource, slowAt: Instant) -> Place {
        let source = self.numbers[name] ?? self.makeSource(name)
        let member = self.sources[source]?.freeMembers.popLast()
        let place = Place(source: source, member: member ?? UInt32(self.sources[source]?.members.count ?? 0))
        if member == nil {
            self.sources[source]?.members.append(session)
        } else {
            self.sources[source]?.members[Int(place.member)] = session
        }
        self.count += 1
        self.add(0, slowAt: slowAt, at: place)
        return place
    }

    private mutating func makeSource(_ name: ConnectionSource) -> Int {
        let source = self.freeSources.popLast() ?? self.sources.count
        if source == self.sources.count { self.sources.append(nil) }
        self.sources[source] = Source(name: name)
        self.numbers[name] = source
        return source
    }

    /// More of a packet came.
    mutating func add(_ count: Int, slowAt: Instant, at place: Place) {
        self.sources[place.source]?.slowAt.set(place.member, deadline: slowAt)
        self.changeBytes(by: count, of: place.source)
    }

    /// - Parameter count: bytes of it that had come.
    mutating func remove(_ count: Int, at place: Place) {
        self.count -= 1
        self.sources[place.source]?.slowAt.set(place.member, deadline: nil)
        self.sources[place.source]?.freeMembers.append(place.member)
        self.changeBytes(by: -count, of: place.source)
        guard let source = self.sources[place.source], source.slowAt.count == 0 else { return }
        self.byBytes.set(UInt32(place.source), deadline: nil)
        self.numbers[source.name] = nil
        self.sources[place.source] = nil
        self.freeSources.append(place.source)
    }

    private mutating func changeBytes(by change: Int, of source: Int) {
        self.bytes += change
        self.sources[source]?.bytes += change
        let held = UInt64(self.sources[source]?.bytes ?? 0)
        self.byBytes.set(UInt32(source), deadline: Instant.max - held)
    }

    /// Of the source with the most bytes, the session whose packet will be the first to have come too slowly, and when.
    var first: (session: UInt32, slowAt: Instant)? {
        guard let number = self.byBytes.first?.index, let source = self.sources[Int(number)],
            let member = source.slowAt.first
        else { return nil }
        return (source.members[Int(member.index)], member.deadline)
    }
}
