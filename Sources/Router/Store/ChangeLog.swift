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

    mutating func delete(_ key: (inout ByteBuffer) -> Void) {
        self.append(.delete, key) { _ in }
    }

    /// An insert is of an entry that was not there before: when it goes soon, nothing has to be looked for.
    mutating func append(
        _ operation: ChangeReader.Operation,
        _ key: (inout ByteBuffer) -> Void,
        _ value: (inout ByteBuffer) -> Void
    ) {
        self.records += 1
        ChangeWriter.write(operation, key: key, value: value, to: &self.buffer)
    }

    // What `StoreKey` names.

    mutating func set(_ key: ShortKey, _ item: StoredItem, isNew: Bool) {
        self.records += 1
        ChangeWriter.write(isNew ? .insert : .put, key, item, to: &self.buffer)
    }

    mutating func insert(_ key: ShortKey, _ message: StoredMessage) {
        self.records += 1
        ChangeWriter.write(.insert, key, message, to: &self.buffer)
    }

    mutating func insert(_ key: ShortKey, _ number: UInt64) {
        self.records += 1
        ChangeWriter.write(.insert, key, number, to: &self.buffer)
    }

    mutating func set(_ key: ShortKey, isNew: Bool, _ value: (inout ByteBuffer) -> Void) {
        self.append(isNew ? .insert : .put, { key.write(into: &$0) }, value)
    }

    mutating func delete(_ key: ShortKey) {
        self.records += 1
        ChangeWriter.writeDelete(key, to: &self.buffer)
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
