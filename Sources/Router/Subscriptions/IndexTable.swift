/// An element of a `ChunkedArray` that an `IndexTable` finds.
protocol TableElement: BitwiseCopyable {
    /// Hash of the element's key.
    var tableHash: UInt32 { get }
}

/// An open-addressing hash table that holds nothing but indexes into storage of the caller's: 4 bytes a slot.
///
/// The caller compares keys; they live in the element the index refers to. Removal shifts followers back, so
/// that no tombstones pile up.
///
/// ```
/// slots:  [ 0 | 17 | 3 | 0 | 0 | 9 | … ]      0 = empty, else index of an element (element 0 is never used)
/// ```
struct IndexTable: ~Copyable {
    private var slots: UnsafeMutablePointer<UInt32>
    private var mask: Int
    private(set) var count = 0

    init() {
        self.slots = Self.allocate(16)
        self.mask = 15
    }

    deinit {
        self.slots.deallocate()
    }

    var heldBytes: Int { (self.mask + 1) * MemoryLayout<UInt32>.stride }

    /// The index whose element `matches`, or 0.
    @inline(__always)
    func find(hash: UInt32, _ matches: (UInt32) -> Bool) -> UInt32 {
        var position = Int(hash) & self.mask
        while true {
            let index = self.slots[position]
            if index == 0 || matches(index) { return index }
            position = (position + 1) & self.mask
        }
    }

    /// Adds an index that is not in the table.
    mutating func insert<Element: TableElement>(
        _ index: UInt32,
        hash: UInt32,
        of elements: borrowing ChunkedArray<Element>
    ) {
        // At most 70 % full: linear probing stays short, and a slot costs 5.7 to 11.4 bytes per element.
        if (self.count + 1) * 10 > (self.mask + 1) * 7 { self.resize((self.mask + 1) * 2, elements) }
        self.place(index, hash: hash)
        self.count += 1
    }

    mutating func remove<Element: TableElement>(
        _ index: UInt32,
        hash: UInt32,
        of elements: borrowing ChunkedArray<Element>
    ) {
        var hole = Int(hash) & self.mask
        while self.slots[hole] != index {
            if self.slots[hole] == 0 { preconditionFailure("removed an index that is not in the table") }
            hole = (hole + 1) & self.mask
        }
        var next = (hole + 1) & self.mask
        while self.slots[next] != 0 {
            let home = Int(elements[self.slots[next]].tableHash) & self.mask
            // The follower may move into the hole unless its home lies after the hole (cyclically).
            if (next &- home) & self.mask >= (next &- hole) & self.mask {
                self.slots[hole] = self.slots[next]
                hole = next
            }
            next = (next + 1) & self.mask
        }
        self.slots[hole] = 0
        self.count -= 1
        if self.mask >= 64, self.count * 8 < self.mask { self.resize((self.mask + 1) / 4, elements) }
    }

    private mutating func resize<Element: TableElement>(_ capacity: Int, _ elements: borrowing ChunkedArray<Element>) {
        let old = self.slots
        let oldCapacity = self.mask + 1
        self.slots = Self.allocate(capacity)
        self.mask = capacity - 1
        for position in 0..<oldCapacity where old[position] != 0 {
            self.place(old[position], hash: elements[old[position]].tableHash)
        }
        old.deallocate()
    }

    private mutating func place(_ index: UInt32, hash: UInt32) {
        var position = Int(hash) & self.mask
        while self.slots[position] != 0 { position = (position + 1) & self.mask }
        self.slots[position] = index
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt32> {
        let slots = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
        slots.initialize(repeating: 0, count: capacity)
        return slots
    }
}
