/// Gathers the answers to look-ups of several commands. Each command has a number of its own towards Redis; when the last
/// answer of a look-up is there, or one of them failed, the look-up is done.
struct ReplyGatherer {
    private struct Part {
        var lookup: UInt64
        var index: Int
    }

    /// Tells numbers of parts from others.
    private static var partBit: UInt64 { 1 << 62 }

    private var parts: [UInt64: Part] = [:]
    private var replies: [UInt64: [RedisReply?]] = [:]
    private var nextNumber = ReplyGatherer.partBit

    static func isPart(_ number: UInt64) -> Bool { number & self.partBit != 0 }

    /// The place of the command with this number among those of its look-up.
    func index(of number: UInt64) -> Int { Self.isPart(number) ? self.parts[number]?.index ?? 0 : 0 }

    /// The numbers for the commands of a look-up.
    mutating func begin(_ lookup: UInt64, count: Int) -> Range<UInt64> {
        let first = self.nextNumber
        self.nextNumber += UInt64(count)
        self.replies[lookup] = Array(repeating: nil, count: count)
        for index in 0..<count { self.parts[first + UInt64(index)] = Part(lookup: lookup, index: index) }
        return first..<self.nextNumber
    }

    /// Returns the look-up and all its answers, in the order of its commands, when they are complete.
    mutating func answered(_ number: UInt64, _ reply: RedisReply) -> (lookup: UInt64, replies: [RedisReply])? {
        guard let part = self.parts.removeValue(forKey: number), var replies = self.replies[part.lookup] else {
            return nil
        }
        replies[part.index] = reply
        let complete = replies.compactMap { $0 }
        self.replies[part.lookup] = complete.count == replies.count ? nil : replies
        return complete.count == replies.count ? (part.lookup, complete) : nil
    }

    /// Returns the look-up that fails with it; nil when it has failed before.
    mutating func failed(_ number: UInt64) -> UInt64? {
        guard let part = self.parts.removeValue(forKey: number) else { return nil }
        return self.replies.removeValue(forKey: part.lookup) == nil ? nil : part.lookup
    }
}
