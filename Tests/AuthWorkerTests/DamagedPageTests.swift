import AuthCache
import AuthWorker
import Common
import Glibc
import TestSupport
import Testing

/// Somebody writes over the pages that auth workers share, or cuts them short, while they are in use or before.
@Suite struct DamagedPageTests {
    enum Damage: CaseIterable {
        case noise
        case zeros
        case cut

        func inflict(on path: String) throws {
            guard self != .cut else {
                #expect(truncate(path, 0) == 0)
                return
            }
            let bytes = [UInt8](repeating: self == .noise ? 0xA5 : 0, count: SharedPage.wordCount * 8)
            let file = open(path, O_WRONLY)
            defer { close(file) }
            #expect(pwrite(file, bytes, bytes.count, 0) == bytes.count)
        }
    }

    private let folder: TemporaryDirectory
    private var path: String { self.folder.file("page") }

    init() throws {
        self.folder = try TemporaryDirectory("martlet-pages")
    }

    private func key(_ name: String) -> LookupKey { LookupKey(redisKey: Array(name.utf8)) }

    @Test(arguments: Damage.allCases)
    func `marks that are damaged mean any row that was known by then`(_ damage: Damage) throws {
        let workers = (0..<2).map { _ in MissingMarks(page: SharedPage(path: self.path)) }
        func note(_ name: String, _ time: Int64) {
            workers[0].awaits(workers[0].note(.markChanged(redisKey: Array(name.utf8), atMilliseconds: time)))
        }
        note("a", 1000)
        #expect(workers.allSatisfy { $0.isIntact })
        try damage.inflict(on: self.path)
        #expect(workers.allSatisfy { !$0.isIntact })
        for marks in workers { marks.relink(nowMilliseconds: 5000) }
        #expect(workers[0].wasDamaged)
        let later = MissingMarks(page: SharedPage(path: self.path))
        for marks in workers + [later] {
            #expect(marks.isIntact && marks.isShared)
            #expect(marks.concern(self.key("any"), knownCurrentMilliseconds: 5000))
            #expect(!marks.concern(self.key("any"), knownCurrentMilliseconds: 5001))
        }
        note("b", 6000)
        workers[0].forgetNext()
        #expect(later.concern(self.key("b"), knownCurrentMilliseconds: 6000))
        workers[0].forgetNext()
        #expect(!later.concern(self.key("b"), knownCurrentMilliseconds: 5001))
    }

    @Test func `a worker that starts takes overwritten marks for unknown ones`() throws {
        _ = MissingMarks(page: SharedPage(path: self.path))
        try Damage.noise.inflict(on: self.path)
        let marks = MissingMarks(page: SharedPage(path: self.path), nowMilliseconds: 5000)
        #expect(marks.wasDamaged && marks.isIntact)
        #expect(marks.concern(self.key("any"), knownCurrentMilliseconds: 5000))
        #expect(!marks.concern(self.key("any"), knownCurrentMilliseconds: 5001))
    }

    @Test(arguments: Damage.allCases)
    func `after an account of lost rows was damaged each worker looks before it denies`(_ damage: Damage) throws {
        let accounts = (1...2).map { DenialAccount(page: SharedPage(path: self.path), worker: $0, boot: 1) }
        let guards = accounts.map { DenialGuard(account: $0) }
        accounts[0].suspend(atMilliseconds: 1000, vanishingSince: 990)
        try damage.inflict(on: self.path)
        #expect(guards.allSatisfy { !$0.isIntact })
        for denialGuard in guards { denialGuard.relink(nowMilliseconds: 5000) }
        #expect(guards.allSatisfy { $0.isIntact && $0.isShared && $0.state == .checking })
        #expect(guards[0].wasDamaged)
        if damage == .noise {
            try damage.inflict(on: self.path)
            let next = DenialAccount(page: SharedPage(path: self.path), worker: 1, boot: 1)
            #expect(next.wasDamaged && next.isIntact)
            #expect(DenialGuard(account: next).state == .watching)
        }
    }

    @Test(arguments: Damage.allCases)
    func `regression: a worker goes on when its pages are damaged, and lets in who is known`(_ damage: Damage) throws {
        let redis = try RedisServer()
        let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: self.folder.file("auth"))
        for device in ["a", "b"] { try redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let worker = try WorkerHarness(configuration)
        try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
        #expect(try worker.ask("a", password: "p").outcome == .allow)
        let listed = try runProcess(
            "sh",
            arguments: ["-c", "ls -d '\(self.folder.file("auth"))'/marks-* '\(self.folder.file("auth"))'/denials-*"]
        )
        let pages = listed.output.split(separator: "\n").map(String.init)
        #expect(pages.count == 2)
        for page in pages { try damage.inflict(on: page) }
        #expect(try worker.ask("b", password: "p").outcome == .allow)
        // It was known, and is asked for again.
        let lookups = worker.status("lookups")
        #expect(try worker.ask("a", password: "p").source == .redis)
        #expect(worker.status("lookups") != lookups)
        try redis.cli(["del", "tls_domain:a"])
        try worker.turn { try worker.ask("a", password: "p").reason == .noSuchDevice }
        #expect(pages.allSatisfy { FileStamp($0)?.bytes == Int64(SharedPage.wordCount * 8) })
    }
}
