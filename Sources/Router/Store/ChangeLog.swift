import Common
import RouterStore

/// The changes that the core made to what must survive a restart, gathered into groups that are committed as a whole:
/// records as `ChangeReader` reads them.
struct ChangeLog: ~Copyable {
    /// Off: nothing is recorded, and nothing waits for a commit.
    var isOn = false
    /// Commits fail at the moment (a full disk, say): nothing new is promised until they work again.
    var isInTrouble = false
    /// The number of the group that is being gathered.
    private(set) var group: UInt64 = 1
    /// All groups up to this one are committed.
    private(set) var committed: UInt64 = 0
    /// Of groups that were taken and are not committed.
    private(set) var uncommittedBytes = 0
    /// Records made since the start.
    private(set) var records: UInt64 = 0
    private var takenBytes: [(group: UInt64, bytes: Int)] = []
    private var buffer = ByteBuffer()
    /// For sessions, items and messages: above that of everything that is stored.
    var nextNumber: UInt64 = 1

    init() {}

    var waitingBytes: Int { self.uncommittedBytes + self.buffer.readableBytes }

    mutating func takeNumber() -> UInt64 {
        defer { self.nextNumber += 1 }
        return self.nextNumber
    }

    /// The last group in which there is something.
    var newestGroup: UInt64 { self.buffer.isEmpty ? self.group - 1 : self.group }

    /// Appends a record whose key and value the closures write.
    mutating func put(_ key: (inout ByteBuffer) -> Void, _ value: (inout ByteBuffer) -> Void) {
        self.append(.put, key, value)
    }

    /// The same, of an entry that was not there before: when it goes soon, nothing has to be looked for.
    mutating func insert(_ key: (inout ByteBuffer) -> Void, _ value: (inout ByteBuffer) -> Void) {
        self.append(.insert, key, value)
    }

    /// One or the other.
    mutating func set(isNew: Bool, _ key: (inout ByteBuffer) -> Void, _ value: (inout ByteBuffer) -> Void) {
        self.append(isNew ? .insert : .put, key, value)
    }

    mutating func delete(_ key: (inout ByteBuffer) -> Void) {
        self.append(.delete, key) { _ in }
    }

    private mutating func append(
        _ operation: ChangeReader.Operation,
        _ key: (inout ByteBuffer) -> Void,
        _ value: (inout ByteBuffer) -> Void
    ) {
        self.records += 1
        let start = self.buffer.readableBytes
        self.buffer.write(operation.rawValue)
        self.buffer.writeLittleEndian(0 as UInt64)
        key(&self.buffer)
        let keyEnd = self.buffer.readableBytes
        value(&self.buffer)
        let keyBytes = keyEnd - start - ChangeReader.headerBytes
        let valueBytes = self.buffer.readableBytes - keyEnd
        let header = self.buffer.mutableReadable
        header.storeBytes(
            of: UInt32(truncatingIfNeeded: keyBytes).littleEndian,
            toByteOffset: start + 1,
            as: UInt32.self
        )
        header.storeBytes(
            of: UInt32(truncatingIfNeeded: valueBytes).littleEndian,
            toByteOffset: start + 5,
            as: UInt32.self
        )
    }

    /// Closes the group that is being gathered; nil when nothing is in it.
    mutating func takeGroup() -> (number: UInt64, records: [UInt8])? {
        guard !self.buffer.isEmpty else { return nil }
        let records = self.buffer.array
        self.buffer.clear()
        if self.buffer.capacity > 1 << 20 { self.buffer.releaseIfEmpty() }
        let number = self.group
        self.group += 1
        self.uncommittedBytes += records.count
        self.takenBytes.append((number, records.count))
        return (number, records)
    }

    mutating func commit(upTo group: UInt64) {
        guard group > self.committed else { return }
        self.committed = group
        var done = 0
        while done < self.takenBytes.count, self.takenBytes[done].group <= group {
            self.uncommittedBytes -= self.takenBytes[done].bytes
            done += 1
        }
        self.takenBytes.removeFirst(done)
    }
}
