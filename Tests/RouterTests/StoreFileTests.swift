import Common
import Glibc
import SQLite
import TestSupport
import Testing

@testable import Router
@testable import RouterStore

/// The router's file: what it keeps, and what it refuses.
@Suite struct StoreFileTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
    }

    private func open() throws -> StoreFile {
        try StoreFile(path: self.path, survivesPowerLoss: false, checkpointPages: 16)
    }

    private func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

    private func entries(_ file: StoreFile) throws -> [String] {
        var found: [String] = []
        try file.rows.entries(UInt8(ascii: "x")) { found.append(self.text($0) + "=" + self.text($1)) }
        return found
    }

    /// Random groups of changes against a dictionary, with folds and reopenings in between.
    @Test func itHoldsTheNetEffectOfAllGroups() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var expected: [String: String] = [:]
        var file: StoreFile? = try self.open()
        for round in 0..<300 {
            var changes = ChangeLog()
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let key = "x\(Int.random(in: 0..<20, using: &random))"
                let value = "\(round)-\(UInt32.random(in: 0...UInt32.max, using: &random))"
                if Bool.random(using: &random) {
                    if expected[key] == nil {
                        changes.append(.insert, { $0.write(key) }, { $0.write(value) })
                    } else {
                        changes.put({ $0.write(key) }, { $0.write(value) })
                    }
                    expected[key] = value
                } else if expected[key] != nil {
                    changes.delete { $0.write(key) }
                    expected[key] = nil
                }
            }
            if let group = changes.takeGroup() { try file?.append([group.records]) }
            if Int.random(in: 0..<6, using: &random) == 0 { try file?.fold() }
            if Int.random(in: 0..<25, using: &random) == 0 {
                file = nil
                file = try self.open()
            }
        }
        file = nil
        let kept = try self.entries(try self.open())
        #expect(kept.sorted() == expected.map { "\($0.key)=\($0.value)" }.sorted(), "seed \(seed)")
    }

    @Test func aGroupIsThereAsAWholeOrNotAtAll() throws {
        var changes = ChangeLog()
        changes.put({ $0.write("x1") }, { $0.write("a") })
        changes.put({ $0.write("x2") }, { $0.write("b") })
        let taken = changes.takeGroup()
        let group = try #require(taken)
        // A record cut off anywhere is noticed.
        for length in 1..<group.records.count {
            group.records[..<length].withUnsafeBytes { bytes in
                var reader = ChangeReader(UnsafeRawBufferPointer(rebasing: bytes[...]))
                var count = 0
                while reader.next() != nil { count += 1 }
                #expect(reader.isBroken || count < 2)
            }
        }
        try self.open().append([group.records])
        #expect(try self.entries(try self.open()) == ["x1=a", "x2=b"])
    }

    @Test func withoutAnotherThreadACommitCopiesTheLogOfTheDatabase() throws {
        let file = try self.open()
        let value = [UInt8](repeating: 0x61, count: 20_000)
        for _ in 0..<200 {
            var changes = ChangeLog()
            changes.put({ $0.write("x1") }, { $0.write(value) })
            if let group = changes.takeGroup() { try file.append([group.records]) }
        }
        // 200 groups of three pages and more; it is never cut, only begun anew.
        #expect(try readFile(self.path + "-wal").count < 50 * 8192)
    }

    /// Power is lost while the write-ahead log is written: what is there of it ends anywhere, or is garbage in its last sectors.
    @Test func aTornWriteLosesNoCommitBeforeIt() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var file: StoreFile? = try StoreFile(path: self.path, survivesPowerLoss: true)
        /// Bytes of the write-ahead log after each commit.
        var ends: [Int] = []
        let log = self.path + "-wal"
        for number in 0..<120 {
            var changes = ChangeLog()
            let value = String(repeating: "v", count: Int.random(in: 0...9000, using: &random))
            changes.append(.insert, { $0.write("x\(1000 + number)") }, { $0.write(value) })
            if let group = changes.takeGroup() { try file?.append([group.records]) }
            if random.oneIn(20) { try file?.fold() }
            ends.append(try readFile(log).count)
        }
        let (base, written) = (try readFile(self.path), try readFile(log))
        file = nil
        for attempt in 0..<60 {
            let path = self.directory.file("torn-\(attempt).db")
            try writeFile(path, base)
            let cut = Int.random(in: 0...written.count, using: &random)
            let garbage = random.bytes(Bool.random(using: &random) ? min(512 * 3, written.count - cut) : 0)
            try writeFile(path + "-wal", Array(written[..<cut]) + garbage)
            let survivor = try StoreFile(path: path, survivesPowerLoss: true)
            let found = try self.entries(survivor).count
            let safe = ends.count { $0 <= cut }
            #expect(found >= safe && found <= safe + 1, "seed \(seed), cut at \(cut) of \(written.count)")
        }
    }

    @Test func twoRoutersOnOneFileAreRefused() throws {
        let first = try self.open()
        let error = #expect(throws: StoreError.self) { try self.open() }
        #expect(error?.description.contains("another router uses the store") == true)
        withExtendedLifetime(first) {}
    }

    /// It closed its descriptor twice, the second time perhaps somebody else's.
    @Test func aLockThatIsTakenClosesNobodysDescriptor() async throws {
        let first = try StoreLock(storePath: self.path)
        let other = Task.detached {
            var lost = 0
            for _ in 0..<20_000 {
                let descriptor = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
                for _ in 0..<20 where fcntl(descriptor, F_GETFD) < 0 { lost += 1 }
                close(descriptor)
            }
            return lost
        }
        for _ in 0..<20_000 {
            #expect(throws: StoreLock.Failure.self) { try StoreLock(storePath: self.path) }
        }
        #expect(await other.value == 0)
        withExtendedLifetime(first) {}
    }

    @Test func aNewerSchemaIsRefusedWithTheReason() throws {
        _ = try self.open()
        let database = try Database(path: self.path, busyTimeoutMilliseconds: 1000)
        try database.execute("PRAGMA user_version = 99")
        let error = #expect(throws: StoreError.self) { try self.open() }
        #expect(error?.description.contains("schema version 99") == true)
        #expect(error?.description.contains("newer release") == true)
        #expect(try database.userVersion() == 99)
    }

    @Test func aDamagedFileIsRefusedWithInstructionsAndLeftAlone() throws {
        let garbage = [UInt8](repeating: 0x5A, count: 8192)
        try writeFile(self.path, garbage)
        let error = #expect(throws: StoreError.self) { try self.open() }
        #expect(error?.description.contains("damaged") == true)
        #expect(error?.description.contains("martlet store") == true)
        #expect(try readFile(self.path) == garbage)
    }

    @Test func brokenEntriesAreRefusedNotSkipped() throws {
        var changes = ChangeLog()
        changes.put(
            {
                $0.write(StoreKey.session); $0.writeBigEndian(1 as UInt64)
            },
            { $0.write("no session") }
        )
        let taken = changes.takeGroup()
        let group = try #require(taken)
        try self.open().append([group.records])
        let harness = RouterHarness()
        let file = try self.open()
        let error = #expect(throws: StoreError.self) { try harness.core.restore(from: file, now: harness.now) }
        #expect(error?.description.contains("1 entries that make no sense") == true)
    }

    /// One such entry, which an error had left, kept every router from starting.
    @Test(arguments: [StoreKey.subscription, StoreKey.item, StoreKey.received, StoreKey.completed])
    func whatBelongsToNoSessionIsTakenOut(kind: UInt8) throws {
        var changes = ChangeLog()
        changes.put(
            { key in
                key.write(kind)
                key.writeBigEndian(77 as UInt64)
                switch kind {
                case StoreKey.subscription: key.writeBigEndian(1 as UInt32)
                case StoreKey.received: key.writeBigEndian(30 as UInt16)
                default: key.writeBigEndian(5 as UInt64)
                }
            },
            { value in
                switch kind {
                case StoreKey.subscription:
                    value.writeLittleEndian(0 as UInt32)
                    value.write(0 as UInt8)
                    value.write("t")
                case StoreKey.item:
                    var item = StoredItem()
                    item.message = 4
                    item.encode(into: &value)
                case StoreKey.received: value.writeLittleEndian(0 as UInt64)
                default: break
                }
            }
        )
        let taken = changes.takeGroup()
        let group = try #require(taken)
        try self.open().append([group.records])
        let harness = RouterHarness(store: try self.open())
        #expect(harness.core.ownerlessEntries == 1)
        harness.commit()
        _ = try harness.restart(self.path)
        var count = 0
        try self.open().rows.entries(kind) { _, _ in count += 1 }
        #expect(count == 0)
    }

    /// Values of files that somebody else wrote: refused or taken, never a crash.
    @Test func randomValuesNeverCrash() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                UInt8.random(in: 0...3, using: &random) == 0 ? UInt8.random(in: 0...255, using: &random) : 0
            }
            bytes.withUnsafeBytes { value in
                _ = StoredSession(value)
                _ = StoredItem(value, number: 1)
                _ = StoredMessage(value)?.message(storeOffset: 5)
                var reader = ChangeReader(value)
                while reader.next() != nil {}
            }
        }
    }
}
