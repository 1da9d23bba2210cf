import Common

/// Changes that were announced and that the thread of the cache file has not marked in it yet: rows that are read meanwhile are
/// older.
struct UnwrittenMarks {
    private var counts: [[UInt8]: Int] = [:]
    /// Of keys beyond `AuthLimits.namedKeysMax`, and of all keys: any row may be meant.
    private var ofAnyKey = 0

    init() {}

    mutating func add(_ redisKey: [UInt8]) {
        guard self.counts[redisKey] != nil || self.counts.count < AuthLimits.namedKeysMax else { return self.addAll() }
        self.counts[redisKey, default: 0] += 1
    }

    mutating func addAll() {
        self.ofAnyKey += 1
    }

    /// They are written in the order in which they were added. One that never is counts for ever.
    mutating func written(_ redisKey: [UInt8]) {
        guard let count = self.counts[redisKey] else { return self.writtenAll() }
        self.counts[redisKey] = count > 1 ? count - 1 : nil
    }

    mutating func writtenAll() {
        self.ofAnyKey = max(0, self.ofAnyKey - 1)
    }

    func concern(_ key: LookupKey) -> Bool {
        if self.ofAnyKey > 0 { return true }
        guard !self.counts.isEmpty else { return false }
        return self.counts[key.redisKey] != nil || key.relatedKeys.contains { self.counts[$0] != nil }
    }
}
