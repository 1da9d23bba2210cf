/// The sessions that share one subscription: `$share/NAME/FILTER` (MQTT 5.0, section 4.8.2).
struct SharedGroup {
    var name: [UInt8]
    var node: UInt32
    /// Tells groups apart that had the same number one after the other.
    var stamp: UInt32
    var members: [Subscriber] = []
    /// The member whose turn is next.
    var next = 0

    /// Takes turns among the members of the highest rank: 2 for one that can take a message now, 1 for one that is there.
    mutating func choose(_ rank: (UInt32) -> Int) -> Subscriber? {
        var best: (rank: Int, position: Int)?
        for step in 0..<self.members.count {
            let position = (self.next + step) % self.members.count
            let found = rank(self.members[position].session)
            if found > best?.rank ?? -1 { best = (found, position) }
            if found >= 2 { break }
        }
        guard let position = best?.position else { return nil }
        self.next = (position + 1) % self.members.count
        return self.members[position]
    }
}
