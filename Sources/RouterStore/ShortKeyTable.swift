/// A hash table by short keys, of numbers that nobody outside chooses: open addressing, without tombstones. A dictionary's hashing
/// costs more than all else that is done with a record, and most of the rest is waiting for memory: the smaller a slot, the better.
struct ShortKeyTable<Value: BitwiseCopyable>: ~Copyable {
    /// Of 32 bytes with a value of 12.
    private struct Slot: BitwiseCopyable {
        /// None: the slot is free.
        var key: ShortKey
        var value: Value
    }

    private static var slotsMin: Int { 64 }
    /// More are given back when all keys go.
    private static var slotsKept: Int { 1 << 16 }

    private var slots = UnsafeMutableBufferPointer<Slot>(start: nil, count: 0)
    private(set) var count = 0
    /// What a free slot holds.
    private let unused: Value

    private var mask: Int { self.slots.count - 1 }

    /// - Parameter unused: any value.
    init(unused: Value) {
        self.unused = unused
    }

    deinit {
        UnsafeMutableRawBufferPointer(self.slots).deallocate()
    }

    private static func hash(_ key: ShortKey) -> Int {
        var mixed =
            (key.first &* 0x9E37_79B9_7F4A_7C15) ^ (key.second &* 0xC2B2_AE3D_27D4_EB4F) ^ UInt64(key.kind) << 56
        mixed = (mixed ^ (mixed >> 32)) &* 0xD6E8_FEB8_6659_FD93
        return Int(truncatingIfNeeded: mixed ^ (mixed >> 29))
    }

    /// The place of a key, or the free one where it belongs.
    private func place(_ key: ShortKey) -> Int {
        var index = Self.hash(key) & self.mask
        while !self.slots[index].key.isNone, self.slots[index].key != key { index = (index + 1) & self.mask }
        return index
    }

    /// - Returns: the value that it had.
    @discardableResult
    mutating func set(_ value: Value, for key: ShortKey) -> Value? {
        if (self.count + 1) * 2 > self.slots.count { self.grow() }
        let index = self.place(key)
        let former = self.slots[index].key.isNone ? nil : self.slots[index].value
        if former == nil { self.count += 1 }
        self.slots[index] = Slot(key: key, value: value)
        return former
    }

    /// - Returns: the value that it had.
    mutating func remove(_ key: ShortKey) -> Value? {
        guard self.count > 0 else { return nil }
        var hole = self.place(key)
        guard !self.slots[hole].key.isNone else { return nil }
        let former = self.slots[hole].value
        self.slots[hole].key = .none
        self.count -= 1
        // Those behind that could not be where they belong move up.
        var index = (hole + 1) & self.mask
        while !self.slots[index].key.isNone {
            let home = Self.hash(self.slots[index].key) & self.mask
            if (index &- home) & self.mask >= (index &- hole) & self.mask {
                self.slots[hole] = self.slots[index]
                self.slots[index].key = .none
                hole = index
            }
            index = (index + 1) & self.mask
        }
        return former
    }

    mutating func removeAll() {
        if self.slots.count > Self.slotsKept {
            UnsafeMutableRawBufferPointer(self.slots).deallocate()
            self.slots = UnsafeMutableBufferPointer(start: nil, count: 0)
        } else if self.count > 0 {
            self.slots.update(repeating: Slot(key: .none, value: self.unused))
        }
        self.count = 0
    }

    borrowing func forEach<Failure: Error>(
        _ body: (ShortKey, Value) throws(Failure) -> Void
    ) throws(Failure) {
        for slot in self.slots where !slot.key.isNone { try body(slot.key, slot.value) }
    }

    private mutating func grow() {
        let former = self.slots
        let bytes = max(Self.slotsMin, former.count * 2) * MemoryLayout<Slot>.stride
        // No slot is in two cache lines.
        self.slots = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 64).bindMemory(to: Slot.self)
        self.slots.initialize(repeating: Slot(key: .none, value: self.unused))
        self.count = 0
        for slot in former where !slot.key.isNone { self.set(slot.value, for: slot.key) }
        UnsafeMutableRawBufferPointer(former).deallocate()
    }
}
