/// The sessions that share one subscription: `$share/NAME/FILTER` (MQTT 5.0, section 4.8.2).
struct SharedGroup {
    var name: [UInt8]
    var node: UInt32
    /// Tells groups apart that had the same number one after the other.
    var stamp: UInt32
    var members: [Subscriber] = []
    /// The member whose turn is next.
    var next = 0

    /// Takes turns: the next member that `accepts`, else the next one at all.
    mutating func choose(_ accepts: (UInt32) -> Bool) -> Subscriber? {
        guard !self.members.isEmpty else { return nil }
        for step in 0..<self.members.count {
            let position = (self.next + step) % self.members.count
            if accepts(self.members[position].session) {
                self.next = (position + 1) % self.members.count
                return self.members[position]
            }
        }
        let position = self.next % self.members.count
        self.next = (position + 1) % self.members.count
        return self.members[position]
    }
}
