/// A table by short keys in which those of messages and their copies, which come and go in the order of their numbers, have a place by their
/// number: no hashing, no search, and the next one is in the same cache line. Where two would have one place, the one that was there goes to a hash
/// table. All other keys are in another one, which is small and stays near.
struct RecentKeyTable<Value: BitwiseCopyable>: ~Copyable {
    /// None: the place is free.
    private struct Slot: BitwiseCopyable {
        var key: ShortKey
        var value: Value
    }

    /// More numbers than are under way at once, and memory that stays near.
    private static var slotsCount: Int { 8192 }

    private var slots = UnsafeMutableBufferPointer<Slot>(start: nil, count: 0)
    /// Of them, those taken.
    private var recent = 0
    private var displaced: ShortKeyTable<Value>
    /// No key in `displaced` has a higher number: numbers rise, so that most keys need not be looked for there.
    private var displacedUpTo: UInt64 = 0
    /// Keys without numbers.
    private var others: ShortKeyTable<Value>
    /// What a free slot holds.
    private let unused: Value

    var count: Int { self.recent + self.displaced.count + self.others.count }

    /// - Parameter unused: any value.
    init(unused: Value) {
        self.unused = unused
        self.displaced = ShortKeyTable(unused: unused)
        self.others = ShortKeyTable(unused: unused)
    }

    deinit {
        UnsafeMutableRawBufferPointer(self.slots).deallocate()
    }

    /// - Returns: the value that it had.
    @discardableResult
    @inline(__always)
    mutating func set(_ value: Value, for key: ShortKey) -> Value? {
        guard let number = key.number else { return self.others.set(value, for: key) }
        if self.slots.isEmpty { self.allocate() }
        let index = Int(truncatingIfNeeded: number) & (Self.slotsCount - 1)
        let there = self.slots[index]
        self.slots[index] = Slot(key: key, value: value)
        if there.key == key { return there.value }
        if there.key.isNone {
            self.recent += 1
        } else {
            self.displaced.set(there.value, for: there.key)
            self.displacedUpTo = max(self.displacedUpTo, there.key.number ?? 0)
        }
        return self.removeDisplaced(key, number)
    }

    /// - Returns: the value that it had.
    @inline(__always)
    mutating func remove(_ key: ShortKey) -> Value? {
        guard let number = key.number else { return self.others.remove(key) }
        guard self.recent > 0 else { return self.removeDisplaced(key, number) }
        let index = Int(truncatingIfNeeded: number) & (Self.slotsCount - 1)
        guard self.slots[index].key == key else { return self.removeDisplaced(key, number) }
        self.slots[index].key = .none
        self.recent -= 1
        return self.slots[index].value
    }

    @inline(__always)
    private mutating func removeDisplaced(_ key: ShortKey, _ number: UInt64) -> Value? {
        number <= self.displacedUpTo ? self.displaced.remove(key) : nil
    }

    mutating func removeAll() {
        if self.recent > 0 { self.slots.update(repeating: Slot(key: .none, value: self.unused)) }
        self.recent = 0
        self.displaced.removeAll()
        self.displacedUpTo = 0
        self.others.removeAll()
    }

    borrowing func forEach<Failure: Error>(
        _ body: (ShortKey, Value) throws(Failure) -> Void
    ) throws(Failure) {
        for slot in self.slots where !slot.key.isNone { try body(slot.key, slot.value) }
        try self.displaced.forEach(body)
        try self.others.forEach(body)
    }

    private mutating func allocate() {
        let bytes = Self.slotsCount * MemoryLayout<Slot>.stride
        // No slot is in two cache lines.
        self.slots = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 64).bindMemory(to: Slot.self)
        self.slots.initialize(repeating: Slot(key: .none, value: self.unused))
    }
}
