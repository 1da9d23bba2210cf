import Common
import Glibc
import TestSupport
import Testing

@testable import Router
@testable import RouterStore

/// The thread that commits, and the one that copies the log meanwhile.
@Suite struct StoreWriterTests {
    private let directory: TemporaryDirectory
    private let path: String
    private let loop: EventLoop
    private let waker: Waker

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
        self.loop = try EventLoop()
        self.waker = try Waker(loop: self.loop) {}
    }

    private func open() throws -> StoreFile {
        try StoreFile(path: self.path, survivesPowerLoss: false, checkpointPages: 32)
    }

    private func entries(_ file: StoreFile) throws -> [String: String] {
        var found: [String: String] = [:]
        try file.rows.entries(UInt8(ascii: "x")) {
            found[String(decoding: $0, as: UTF8.self)] = String(decoding: $1.prefix(8), as: UTF8.self)
        }
        return found
    }

    /// The log begins anew only when all of it was copied, which never happens by itself while commits go on.
    @Test func theLogOfTheDatabaseStaysShortWhileCommitsNeverPause() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let writer = StoreWriter(file: try self.open(), waker: self.waker.handle)
        try writer.start()
        var changes = ChangeLog()
        var expected: [String: String] = [:]
        var last: UInt64 = 0
        for number in 0..<2000 {
            let (key, value) = ("x\(Int.random(in: 0..<40, using: &random))", "\(10_000_000 + number)")
            let filler = String(repeating: "v", count: Int.random(in: 0...30_000, using: &random))
            changes.put({ $0.write(key) }, { $0.write(value + filler) })
            expected[key] = value
            guard let group = changes.takeGroup() else { continue }
            writer.append(group.number, group.records)
            last = group.number
            while writer.progress.committed + 3 < last, writer.progress.failures == 0 { sched_yield() }
        }
        try waitUntil("everything is committed") { writer.progress.committed == last }
        // Of some 40 MB that were committed. What the other thread is behind by is bounded too, by eight times 32 pages.
        #expect(try readFile(self.path + "-wal").count < 10 << 20, "seed \(seed)")
        #expect(writer.progress.failures == 0)
        writer.stop()
        #expect(try self.entries(try self.open()) == expected, "seed \(seed)")
    }
}
