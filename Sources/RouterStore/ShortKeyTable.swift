/// A hash table by short keys, of numbers that nobody outside chooses: open addressing, without tombstones. A dictionary's hashing
/// costs more than all else that is done with a record.
struct ShortKeyTable<Value: BitwiseCopyable>: ~Copyable {
    private struct Slot: BitwiseCopyable {
        var key: NetChanges.ShortKey
        var value: Value
    }

    private var slots: [Slot?] = []
    private(set) var count = 0

    private var mask: Int { self.slots.count - 1 }

    private static func hash(_ key: NetChanges.ShortKey) -> Int {
        var mixed =
            (key.first &* 0x9E37_79B9_7F4A_7C15) ^ (key.second &* 0xC2B2_AE3D_27D4_EB4F) ^ UInt64(key.kind) << 56
        mixed = (mixed ^ (mixed >> 32)) &* 0xD6E8_FEB8_6659_FD93
        return Int(truncatingIfNeeded: mixed ^ (mixed >> 29))
    }

    /// The place of a key, or the free one where it belongs.
    private func place(_ key: NetChanges.ShortKey) -> Int {
        var index = Self.hash(key) & self.mask
        while let slot = self.slots[index], slot.key != key { index = (index + 1) & self.mask }
        return index
    }

    /// - Returns: the value that it had.
    @discardableResult
    mutating func set(_ value: Value, for key: NetChanges.ShortKey) -> Value? {
        if (self.count + 1) * 2 > self.slots.count { self.grow() }
        let index = self.place(key)
        let former = self.slots[index]?.value
        if former == nil { self.count += 1 }
        self.slots[index] = Slot(key: key, value: value)
        return former
    }

    /// - Returns: the value that it had.
    mutating func remove(_ key: NetChanges.ShortKey) -> Value? {
        guard self.count > 0 else { return nil }
        var hole = self.place(key)
        guard let found = self.slots[hole] else { return nil }
        self.slots[hole] = nil
        self.count -= 1
        // Those behind that could not be where they belong move up.
        var index = (hole + 1) & self.mask
        while let slot = self.slots[index] {
            let home = Self.hash(slot.key) & self.mask
            if (index &- home) & self.mask >= (index &- hole) & self.mask {
                self.slots[hole] = slot
                self.slots[index] = nil
                hole = index
            }
            index = (index + 1) & self.mask
        }
        return found.value
    }

    mutating func removeAll() {
        self.slots = []
        self.count = 0
    }

    borrowing func forEach<Failure: Error>(
        _ body: (NetChanges.ShortKey, Value) throws(Failure) -> Void
    ) throws(Failure) {
        for index in self.slots.indices {
            if let slot = self.slots[index] { try body(slot.key, slot.value) }
        }
    }

    private mutating func grow() {
        let former = self.slots
        self.slots = [Slot?](repeating: nil, count: max(64, former.count * 2))
        self.count = 0
        for case let slot? in former { self.set(slot.value, for: slot.key) }
    }
}
