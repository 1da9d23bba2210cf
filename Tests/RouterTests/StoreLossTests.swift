import Common
import Glibc
import SQLite
import TestSupport
import Testing

@testable import Router
@testable import RouterStore

/// Somebody removes the files of a store that is in use. What is open can be written to as before, and nobody would ever read it.
@Suite struct StoreLossTests {
    enum Removal: String, CaseIterable {
        case everything = "rm store.db*"
        case log = "rm store.db-wal"
        case index = "rm store.db-shm"
        case database = "rm store.db"
        case movedAway = "mkdir ../elsewhere && mv store.db* ../elsewhere"
        case folder = "rm -r ../router"
        case bothFolders = "rm -r ../../state"
        case replaced = "cp store.db copy && rm store.db && mv copy store.db"
    }

    private final class Changes {
        var log = ChangeLog()
    }

    private let directory: TemporaryDirectory
    private let folder: String
    private let path: String
    private let loop: EventLoop
    private let waker: Waker
    private let changes = Changes()

    init() throws {
        self.directory = try TemporaryDirectory()
        self.folder = self.directory.file("state/router")
        self.path = self.folder + "/store.db"
        for folder in [self.directory.file("state"), self.folder] { #expect(mkdir(folder, 0o700) == 0) }
        self.loop = try EventLoop()
        self.waker = try Waker(loop: self.loop) {}
    }

    private func open() throws -> StoreFile {
        try StoreFile(path: self.path, survivesPowerLoss: false, checkpointPages: 32)
    }

    private func startWriter() throws -> StoreWriter {
        let writer = StoreWriter(file: try self.open(), waker: self.waker.handle)
        try writer.start()
        return writer
    }

    /// - Returns: the group's number.
    private func put(_ key: String, _ writer: StoreWriter) throws -> UInt64 {
        self.changes.log.put({ $0.write("x" + key) }, { $0.write("value of \(key)") })
        let taken = self.changes.log.takeGroup()
        let group = try #require(taken)
        writer.append(group.number, group.records)
        return group.number
    }

    private func shell(_ command: String) throws {
        let result = try runProcess("sh", arguments: ["-c", "cd \(self.folder) && \(command)"])
        #expect(result.status == 0, "\(result.output)")
    }

    private func keys() throws -> [String] {
        var found: [String] = []
        try self.open().rows.entries(UInt8(ascii: "x")) { key, _ in
            found.append(String(decoding: key.dropFirst(), as: UTF8.self))
        }
        return found
    }

    @Test(arguments: Removal.allCases)
    func `a store whose files were removed is written anew, and what comes later is in it`(
        removal: Removal
    ) throws {
        let writer = try self.startWriter()
        let first = try self.put("first", writer)
        try waitUntil("the first commit") { writer.progress.committed == first }
        try self.shell(removal.rawValue)
        try waitUntil("the store is written anew") { writer.progress.rewrites == 1 && writer.progress.trouble == nil }
        #expect(writer.progress.lastLoss.hasPrefix(self.path), "\(writer.progress.lastLoss)")
        #expect(throws: StoreLock.Failure.self) { try StoreLock(storePath: self.path) }
        let second = try self.put("second", writer)
        try waitUntil("the second commit") { writer.progress.committed == second }
        // As `kill -9` leaves it: nothing is closed, and another process opens it.
        let copy = self.directory.file("copy.db")
        let copied = try runProcess("sh", arguments: ["-c", "for s in '' -wal; do cp \(self.path)$s \(copy)$s; done"])
        #expect(copied.status == 0)
        var left: [String] = []
        try StoreFile(path: copy, survivesPowerLoss: false).rows.entries(UInt8(ascii: "x")) { key, _ in
            left.append(String(decoding: key.dropFirst(), as: UTF8.self))
        }
        #expect(left == ["first", "second"])
        writer.stop()
        #expect(try self.keys() == ["first", "second"])
        #expect(writer.progress.rewrites == 1)
        if removal == .replaced { #expect(access(self.path + ".former-1", F_OK) == 0) }
    }

    /// Nobody has had a second to look.
    @Test(arguments: Removal.allCases)
    func `a commit into removed files is told when the store is there again, and so is the end`(
        removal: Removal
    ) throws {
        let writer = try self.startWriter()
        let first = try self.put("first", writer)
        try waitUntil("the first commit") { writer.progress.committed == first }
        try self.shell(removal.rawValue)
        let second = try self.put("second", writer)
        try waitUntil("the second commit") { writer.progress.committed == second }
        #expect(writer.progress.rewrites == 1)
        try self.shell(removal == .movedAway ? "rm store.db*" : removal.rawValue)
        writer.stop()
        #expect(try self.keys() == ["first", "second"])
    }

    /// The log has some pages of the former database, where the new one has others: together they are neither.
    @Test(arguments: [.database, .index] as [Removal])
    func `the former log is not taken for that of the store that was written anew`(removal: Removal) throws {
        let file = try self.open()
        /// Each takes a page of its own.
        func append(_ keys: some Sequence<Int>, _ value: String?) throws {
            for key in keys {
                if let value {
                    self.changes.log.put({ $0.write("x\(key)") }, { $0.write(String(repeating: value, count: 6000)) })
                } else {
                    self.changes.log.delete { $0.write("x\(key)") }
                }
            }
            let taken = self.changes.log.takeGroup()
            try file.append([#require(taken).records])
            try file.fold()
        }
        try append(1000..<1200, "a")
        try append(1000..<1180, nil)
        try file.checkpoint()
        try append([1190], "b")
        try self.shell(removal.rawValue)
        let anew = try file.writtenAnew()
        var found: [String] = []
        try anew.rows.entries(UInt8(ascii: "x")) { key, value in
            found.append(String(decoding: key.dropFirst(), as: UTF8.self))
            #expect(value.allSatisfy { $0 == UInt8(ascii: found.last == "1190" ? "b" : "a") })
        }
        #expect(found == (1180..<1200).map { String($0) })
        #expect(try anew.database.passesQuickCheck())
        withExtendedLifetime(file) {}
    }

    /// The folder is a link, to replace it in one step.
    private func makeFolderALink() throws {
        try self.shell("mkdir ../second && mv ../router ../first && ln -s first ../router")
    }

    @Test func `nothing is committed while the store cannot be written anew`() throws {
        try self.makeFolderALink()
        let writer = try self.startWriter()
        let first = try self.put("first", writer)
        try waitUntil("the first commit") { writer.progress.committed == first }
        try self.shell("ln -s third ../link && mv -T ../link ../router")
        let second = try self.put("second", writer)
        try waitUntil("trouble") { writer.progress.trouble?.contains("cannot be written anew") == true }
        let third = try self.put("third", writer)
        #expect(writer.progress.committed == first)
        #expect(mkdir(self.directory.file("state/third"), 0o700) == 0)
        try waitUntil("the commits") { writer.progress.committed == third }
        #expect(writer.progress.trouble == nil && writer.progress.rewrites == 1 && second < third)
        writer.stop()
        #expect(try self.keys() == ["first", "second", "third"])
    }

    /// Two on one file would each overwrite what the other promised.
    @Test func `a store that somebody else uses by now is left alone`() throws {
        try self.makeFolderALink()
        let writer = try self.startWriter()
        let first = try self.put("first", writer)
        try waitUntil("the first commit") { writer.progress.committed == first }
        var other: StoreFile? = try StoreFile(
            path: self.directory.file("state/second/store.db"),
            survivesPowerLoss: false
        )
        #expect(other != nil)
        try self.shell("ln -s second ../link && mv -T ../link ../router")
        try waitUntil("trouble") { writer.progress.trouble?.contains("another router uses the store") == true }
        _ = try self.put("second", writer)
        #expect(writer.progress.committed == first)
        other = nil
        try waitUntil("the store is written anew") { writer.progress.rewrites == 1 }
        writer.stop()
        #expect(try self.keys() == ["first", "second"])
        #expect(access(self.path + ".former-1", F_OK) == 0)
    }

    @Test func `where only the lock was removed it is taken again`() throws {
        let writer = try self.startWriter()
        let first = try self.put("first", writer)
        try waitUntil("the first commit") { writer.progress.committed == first }
        let stamp = try #require(FileStamp(self.path))
        try self.shell("rm store.db.lock")
        try waitUntil("the lock") { writer.progress.rewrites == 1 }
        #expect(throws: StoreLock.Failure.self) { try StoreLock(storePath: self.path) }
        #expect(FileStamp(self.path)?.isOfSameFile(as: stamp) == true)
        writer.stop()
        #expect(try self.keys() == ["first"])
    }

    /// Its name has to be the one that the next router looks for.
    @Test func `the clock of a store that was removed is written again`() throws {
        let path = self.folder + "/clock"
        let clock = StoreClock(path: path, bootID: "boot")
        #expect(unlink(path) == 0)
        #expect(clock.keep() == nil)
        #expect(StoreClock(path: path, bootID: "boot").offset == clock.offset)
    }
}
