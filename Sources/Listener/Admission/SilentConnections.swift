import Common

/// The TLS connections of a listener that have not said anything yet. When there are too many of them, those from addresses with many go
/// first: who opens connections and says nothing takes the places of nobody else.
///
/// ```
///  level 0   the 1st of its address                        ← goes last
///  level 1   the 2nd and 3rd
///  level 2   the 4th to 7th
///  …
///  level 11  the 2,048th to 4,095th                        ← goes first, the oldest before the others
/// ```
///
/// Nothing is searched for, whatever their number: one that came as the last of many, and whose neighbours have left or spoken, moves down
/// when its turn comes.
struct SilentConnections {
    private struct Entry {
        var fileDescriptor: Int32
        /// Tells it from one that had the same descriptor.
        var number: UInt64
    }

    /// Those of a level in the order of coming.
    private struct Level {
        var entries: [Entry] = []
        /// Before it is what has left.
        var first = 0

        mutating func popFirst() -> Entry? {
            guard self.first < self.entries.count else { return nil }
            defer { self.first += 1 }
            return self.entries[self.first]
        }
    }

    private var numbers: [Int32: UInt64] = [:]
    private var sources: [Int32: ConnectionSource] = [:]
    private var counts: [ConnectionSource: Int] = [:]
    private var levels: [Level] = Array(repeating: Level(), count: Int.bitWidth)
    private var lastNumber: UInt64 = 0
    /// In `levels`; some have left.
    private(set) var entryCount = 0

    var count: Int { self.numbers.count }

    /// - Parameter source: nil: nothing is known of it, and it is taken for the only one from there.
    mutating func insert(_ fileDescriptor: Int32, from source: ConnectionSource?) {
        var count = 1
        if let source {
            count += self.counts[source] ?? 0
            self.counts[source] = count
            self.sources[fileDescriptor] = source
        }
        self.lastNumber += 1
        self.numbers[fileDescriptor] = self.lastNumber
        self.append(Entry(fileDescriptor: fileDescriptor, number: self.lastNumber), Self.level(count))
    }

    private static func level(_ count: Int) -> Int { Int.bitWidth - 1 - count.leadingZeroBitCount }

    private mutating func append(_ entry: Entry, _ level: Int) {
        if self.entryCount >= 2 * self.count + 64 { self.dropLeft() }
        self.levels[level].entries.append(entry)
        self.entryCount += 1
    }

    mutating func remove(_ fileDescriptor: Int32) {
        guard self.numbers.removeValue(forKey: fileDescriptor) != nil,
            let source = self.sources.removeValue(forKey: fileDescriptor)
        else { return }
        let count = (self.counts[source] ?? 0) - 1
        self.counts[source] = count > 0 ? count : nil
    }

    /// The one whose place is given up; it leaves.
    mutating func removeOfMany() -> Int32? {
        for level in self.levels.indices.reversed() {
            while let entry = self.levels[level].popFirst() {
                guard self.numbers[entry.fileDescriptor] == entry.number else { continue }
                let present = Self.level(self.sources[entry.fileDescriptor].flatMap { self.counts[$0] } ?? 1)
                if present < level {
                    self.append(entry, present)
                    continue
                }
                self.remove(entry.fileDescriptor)
                return entry.fileDescriptor
            }
        }
        return nil
    }

    /// Those that have left do not pile up.
    private mutating func dropLeft() {
        let numbers = self.numbers
        for level in self.levels.indices {
            self.levels[level].entries.removeFirst(self.levels[level].first)
            self.levels[level].first = 0
            self.levels[level].entries.removeAll { numbers[$0.fileDescriptor] != $0.number }
        }
        self.entryCount = self.levels.reduce(0) { $0 + $1.entries.count }
    }
}
