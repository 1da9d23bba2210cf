/// Gathers the answers to look-ups of several commands. Each command has a number of its own towards Redis; when the last
/// answer of a look-up is there, or one of them failed, the look-up is done.
struct ReplyGatherer {
    private struct Part {
        var lookup: UInt64
        var index: Int
    }

    private var parts: [UInt64: Part] = [:]
    private var replies: [UInt64: [RedisReply?]] = [:]
    private var nextNumber: UInt64 = 1

    var lookupsPending: Int { self.replies.count }

    /// The numbers for the commands of a look-up.
    mutating func begin(_ lookup: UInt64, count: Int) -> [UInt64] {
        self.replies[lookup] = Array(repeating: nil, count: count)
        return (0..<count).map { index in
            let number = self.nextNumber
            self.nextNumber += 1
            self.parts[number] = Part(lookup: lookup, index: index)
            return number
        }
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
