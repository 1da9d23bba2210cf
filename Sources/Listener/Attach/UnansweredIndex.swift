/// Where the records of `UnansweredPackets` are, by the answer that each waits for and its packet id: for a client that has so many under
/// way that looking through them would keep others waiting. Those with the same key are in their order.
final class UnansweredIndex {
    private struct Places {
        var first: UInt32
        var last: UInt32
    }

    private var places: [UInt32: Places] = [:]
    /// The next place with the same key, of those that have one: a client may send the same again and again.
    private var next: [UInt32: UInt32] = [:]
    /// Places count from where the first record ever was, and wrap: the records together are less than half of what that allows.
    private var front: UInt32 = 0

    static func key(_ answer: UInt8, _ identifier: UInt16) -> UInt32 {
        UInt32(answer) | UInt32(identifier) << 16
    }

    /// The offset of the first record that waits for that.
    func first(_ key: UInt32) -> Int? {
        self.places[key].map { Int($0.first &- self.front) }
    }

    /// A record is written behind all others.
    func append(_ key: UInt32, at offset: Int) {
        let place = self.front &+ UInt32(truncatingIfNeeded: offset)
        guard let last = self.places[key]?.last else {
            self.places[key] = Places(first: place, last: place)
            return
        }
        self.next[last] = place
        self.places[key]?.last = place
    }

    /// The first record that waits for that has its answer.
    func removeFirst(_ key: UInt32) {
        guard let first = self.places[key]?.first else { return }
        guard let next = self.next.removeValue(forKey: first) else {
            self.places[key] = nil
            return
        }
        self.places[key]?.first = next
    }

    /// Bytes are gone from the front.
    func consumed(_ bytes: Int) {
        self.front &+= UInt32(truncatingIfNeeded: bytes)
    }
}
