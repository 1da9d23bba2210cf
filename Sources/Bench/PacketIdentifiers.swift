/// Packet identifiers of a publisher's QoS 1 and 2 messages that are not acknowledged, and which messages those are. One that was never
/// acknowledged stays taken, and the others go on.
struct PacketIdentifiers {
    /// Numbers of messages, by identifier less one.
    private var numbers: [Int] = []
    private var cursor = 0
    private(set) var count = 0

    private static let free = -1
    /// They are used in turns, so that an acknowledgement that comes twice does not meet the next message.
    private static let leastCycle = 64
    static let max = Int(UInt16.max)

    /// Nil: all are taken.
    mutating func take(for number: Int) -> UInt16? {
        guard self.count < Self.max else { return nil }
        if self.count * 2 >= self.numbers.count, self.numbers.count < Self.max {
            let more = min(Swift.max(Self.leastCycle, self.numbers.count), Self.max - self.numbers.count)
            self.numbers.append(contentsOf: repeatElement(Self.free, count: more))
        }
        while self.numbers[self.cursor] != Self.free { self.cursor = (self.cursor + 1) % self.numbers.count }
        self.numbers[self.cursor] = number
        self.count += 1
        defer { self.cursor = (self.cursor + 1) % self.numbers.count }
        return UInt16(self.cursor + 1)
    }

    /// - Returns: the message that was acknowledged; nil: none has this identifier.
    mutating func release(_ identifier: UInt16) -> Int? {
        guard identifier > 0, Int(identifier) <= self.numbers.count else { return nil }
        let number = self.numbers[Int(identifier) - 1]
        guard number != Self.free else { return nil }
        self.numbers[Int(identifier) - 1] = Self.free
        self.count -= 1
        return number
    }
}
