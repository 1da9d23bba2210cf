import Common

/// The look-ups that a Redis key belongs to, its own and those that need it beside their own: for access rows or a superuser's mark.
/// A change of the key is a change of them all. Each operation takes constant time.
struct DependentLookups {
    /// Most keys belong to one look-up.
    private var only: [[UInt8]: LookupKey] = [:]
    private var several: [[UInt8]: Set<LookupKey>] = [:]
    /// All of them, those that were not asked for the longest time whether they are in use first.
    private var order = FirstInFirstOut<LookupKey>()

    init() {}

    var count: Int { self.order.count }

    func lookups(of redisKey: [UInt8]) -> Set<LookupKey> {
        if let key = self.only[redisKey] { return [key] }
        return self.several[redisKey] ?? []
    }

    /// False: it is known already.
    mutating func add(_ key: LookupKey) -> Bool {
        guard self.link(key, to: key.redisKey) else { return false }
        for redisKey in key.relatedKeys { _ = self.link(key, to: redisKey) }
        self.order.append(key)
        return true
    }

    /// Whoever takes one says whether it is in use: `keep`, or `remove`.
    mutating func takeOldest() -> LookupKey? {
        self.order.popFirst()
    }

    mutating func keep(_ key: LookupKey) {
        self.order.append(key)
    }

    mutating func remove(_ key: LookupKey) {
        self.unlink(key, from: key.redisKey)
        for redisKey in key.relatedKeys { self.unlink(key, from: redisKey) }
    }

    private mutating func link(_ key: LookupKey, to redisKey: [UInt8]) -> Bool {
        if self.several[redisKey] != nil { return self.several[redisKey]?.insert(key).inserted ?? false }
        guard let other = self.only[redisKey] else {
            self.only[redisKey] = key
            return true
        }
        guard other != key else { return false }
        self.only[redisKey] = nil
        self.several[redisKey] = [other, key]
        return true
    }

    private mutating func unlink(_ key: LookupKey, from redisKey: [UInt8]) {
        if self.only[redisKey] == key {
            self.only[redisKey] = nil
        } else if self.several[redisKey]?.remove(key) != nil, self.several[redisKey]?.isEmpty ?? false {
            self.several[redisKey] = nil
        }
    }
}
