import Glibc

/// The levels of topics and filters as numbers: each distinct text is held once, with a count of its users.
///
/// Up to eight bytes live in the entry itself, longer ones in a block of their own.
struct LevelTable: ~Copyable {
    /// No level: what a topic's level is that no filter names.
    static var none: UInt32 { 0 }

    private struct Entry: TableElement {
        /// The text itself if it has at most 8 bytes, else the address of its block; in a free entry the next free one.
        var word: UInt64
        var hash: UInt32
        var references: UInt32
        var length: UInt16

        var tableHash: UInt32 { self.hash }
    }

    private var entries = ChunkedArray<Entry>()
    private var table = IndexTable()
    private var firstFree: UInt32 = 0
    private var textBytes = 0
    private let seed: UInt64

    /// - Parameter seed: a secret number, so that nobody can choose levels that collide.
    init(seed: UInt64) {
        self.seed = seed
        self.entries.append(Entry(word: 0, hash: 0, references: 1, length: 0))
    }

    deinit {
        var index: UInt32 = 1
        while Int(index) < self.entries.count {
            let entry = self.entries[index]
            if entry.references > 0, entry.length > 8 { Self.block(entry)?.deallocate() }
            index += 1
        }
    }

    var count: Int { self.table.count }

    /// Memory of its own, texts left out.
    var heldBytes: Int { self.entries.heldBytes + self.table.heldBytes }

    /// The number of a level, or `none` when nobody holds it.
    @inline(__always)
    func find(_ text: UnsafeRawBufferPointer) -> UInt32 {
        let hash = self.hash(text)
        let word = Self.shortWord(text)
        return self.table.find(hash: hash) { index in
            let entry = self.entries[index]
            return entry.hash == hash && Self.equal(entry, text, word)
        }
    }

    /// The number of a level, with one more user.
    mutating func retain(_ text: UnsafeRawBufferPointer) -> UInt32 {
        let known = self.find(text)
        if known != Self.none {
            self.entries[known].references += 1
            return known
        }
        let hash = self.hash(text)
        var entry = Entry(word: 0, hash: hash, references: 1, length: UInt16(truncatingIfNeeded: text.count))
        precondition(text.count <= 65535, "a level is longer than MQTT's strings")
        if text.count <= 8 {
            entry.word = Self.shortWord(text)
        } else if let source = text.baseAddress {
            let block = UnsafeMutableRawPointer.allocate(byteCount: text.count, alignment: 1)
            memcpy(block, source, text.count)
            entry.word = UInt64(UInt(bitPattern: block))
        }
        var index = self.firstFree
        if index != 0 {
            self.firstFree = UInt32(truncatingIfNeeded: self.entries[index].word)
            self.entries[index] = entry
        } else {
            index = UInt32(self.entries.count)
            self.entries.append(entry)
        }
        self.table.insert(index, hash: hash, of: self.entries)
        return index
    }

    /// One user less; the last one's leaving frees the level.
    mutating func release(_ index: UInt32) {
        self.entries[index].references -= 1
        let entry = self.entries[index]
        guard entry.references == 0 else { return }
        self.table.remove(index, hash: entry.hash, of: self.entries)
        if entry.length > 8 { Self.block(entry)?.deallocate() }
        self.entries[index].length = 0
        self.entries[index].word = UInt64(self.firstFree)
        self.firstFree = index
        if self.table.count == 0 {
            self.entries.removeAll()
            self.entries.append(Entry(word: 0, hash: 0, references: 1, length: 0))
            self.firstFree = 0
        }
    }

    /// Whether the level begins with `$`.
    func beginsWithDollar(_ index: UInt32) -> Bool {
        let entry = self.entries[index]
        if entry.length == 0 { return false }
        if entry.length <= 8 { return entry.word & 0xFF == 0x24 }
        return Self.block(entry)?.load(as: UInt8.self) == 0x24
    }

    func append(_ index: UInt32, to bytes: inout [UInt8]) {
        let entry = self.entries[index]
        if entry.length <= 8 {
            withUnsafeBytes(of: entry.word.littleEndian) { bytes.append(contentsOf: $0.prefix(Int(entry.length))) }
        } else {
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: Self.block(entry), count: Int(entry.length)))
        }
    }

    // MARK: Helpers

    private static func block(_ entry: Entry) -> UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: UInt(entry.word))
    }

    /// The bytes of a text of at most 8 bytes, first one lowest; 0 for longer ones.
    @inline(__always)
    private static func shortWord(_ text: UnsafeRawBufferPointer) -> UInt64 {
        let count = text.count
        guard count > 0, count <= 8, let start = text.baseAddress else { return 0 }
        // Two reads that may overlap: where they do, they agree.
        if count >= 4 {
            let low = UInt64(UInt32(littleEndian: start.loadUnaligned(as: UInt32.self)))
            let high = UInt64(UInt32(littleEndian: start.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)))
            return low | high << (UInt64(count - 4) * 8)
        }
        let first = UInt64(start.load(as: UInt8.self))
        let middle = UInt64(start.load(fromByteOffset: count / 2, as: UInt8.self))
        let last = UInt64(start.load(fromByteOffset: count - 1, as: UInt8.self))
        return first | middle << (UInt64(count / 2) * 8) | last << (UInt64(count - 1) * 8)
    }

    @inline(__always)
    private static func equal(_ entry: Entry, _ text: UnsafeRawBufferPointer, _ word: UInt64) -> Bool {
        guard Int(entry.length) == text.count else { return false }
        if text.count <= 8 { return entry.word == word }
        guard let block = Self.block(entry), let start = text.baseAddress else { return false }
        return memcmp(block, start, text.count) == 0
    }

    /// A multiply-and-fold hash, eight bytes at a time.
    @inline(__always)
    private func hash(_ text: UnsafeRawBufferPointer) -> UInt32 {
        let count = text.count
        var state = self.seed ^ UInt64(truncatingIfNeeded: count)
        guard count > 8, let start = text.baseAddress else {
            return UInt32(truncatingIfNeeded: Self.mix(state ^ Self.shortWord(text)))
        }
        var position = 0
        while position < count - 8 {
            state = Self.mix(state ^ start.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            position += 8
        }
        // The last eight bytes, some of them for the second time.
        state = Self.mix(state ^ start.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self))
        return UInt32(truncatingIfNeeded: state)
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }
}
