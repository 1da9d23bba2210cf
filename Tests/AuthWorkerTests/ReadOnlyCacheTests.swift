import AuthCache
import AuthWorker
import Common
import Glibc
import TestSupport
import Testing

/// The folder of the cache is read-only when the workers start, as after a disk error, and can be written later.
@Suite struct ReadOnlyCacheTests {
    /// Permissions, which hold for the folder, or for the files of the database alone.
    private enum Access: String {
        case none = "chmod 500 . && chmod 400 *"
        case folder = "chmod 700 . && chmod 600 lock *-lock"
        case full = "chmod 700 . && chmod 600 *"

        func set(_ folder: String) throws {
            let result = try runProcess("sh", arguments: ["-c", "cd '\(folder)' && \(self.rawValue)"])
            #expect(result.status == 0)
        }
    }

    private let folder: TemporaryDirectory
    private var path: String { self.folder.file("cache") }
    /// The folder as a killed worker leaves it, SQLite's log and index included.
    private var left: String { self.folder.file("left") }

    private func leave() throws {
        #expect(try runProcess("cp", arguments: ["-a", self.path, self.left]).status == 0)
    }

    init() throws {
        self.folder = try TemporaryDirectory("martlet-readonly")
    }

    /// The caches of several sources in one process, and what the worker does for all of them.
    private final class Caches {
        let waker: Waker
        let all: [CredentialCache]
        var troubles = 0
        var recoveries = 0

        init(_ folder: String, count: Int) throws {
            let waker = try Waker(loop: EventLoop()) {}
            self.waker = waker
            self.all = (0..<count).map { source in
                CredentialCache(
                    directory: folder,
                    source: [UInt8(source)],
                    diskEntries: 1000,
                    negativeEntries: 100,
                    waker: waker.handle
                )
            }
            for cache in self.all { cache.start() }
        }

        deinit {
            for cache in self.all { cache.stop() }
            self.waker.invalidate()
        }

        func wait(_ what: String, _ condition: () throws -> Bool) throws {
            let deadline = Clock.monotonic() + 30 * Nanoseconds.perSecond
            while try !condition() {
                guard Clock.monotonic() < deadline else { throw ProcessError(description: "no \(what) in 30 s") }
                for cache in self.all {
                    for event in cache.takeEvents() { self.take(event, of: cache) }
                    cache.reopenIfNeeded()
                }
                usleep(5000)
            }
        }

        private func take(_ event: CredentialCache.Event, of cache: CredentialCache) {
            switch event {
            case .mustClose:
                for other in self.all { other.close() }
                cache.confirmClosed()
            case .trouble: self.troubles += 1
            case .works: self.recoveries += 1
            default: break
            }
        }

        func status(_ name: String) -> [String] {
            self.all.map { cache in
                var report = StatusReport()
                cache.report(into: &report)
                return report.lines.first { $0.name == name }?.value ?? ""
            }
        }

        func store(_ name: String) throws {
            for (source, cache) in self.all.enumerated() {
                let row = CredentialRow(secret: .hash([1]))
                cache.write(
                    .store(
                        Self.key(name, source),
                        row,
                        knownCurrentMilliseconds: Int64(Clock.wall() / Nanoseconds.perMillisecond),
                        generation: 0
                    )
                )
            }
            try self.wait("rows in the file") { self.status("cache_writes_waiting").allSatisfy { $0 == "0" } }
        }

        func find(_ name: String) -> Bool {
            self.all.enumerated().allSatisfy { source, cache in
                if case .found = cache.read(Self.key(name, source)) { true } else { false }
            }
        }

        private static func key(_ name: String, _ source: Int) -> LookupKey {
            LookupKey(redisKey: Array("\(name)-\(source)".utf8))
        }
    }

    @Test(arguments: [1, 3])
    func
        `regression: a cache that was read-only at the start is written as soon as it can be, and not said to be before`(
            sources: Int
        ) throws
    {
        try OrdinaryUser.run(owning: self.folder.path) {
            do {
                let killed = try Caches(self.path, count: sources)
                try killed.store("before")
                try killed.wait("rows") { killed.find("before") }
                try self.leave()
            }
            try Access.none.set(self.left)
            do {
                let caches = try Caches(self.left, count: sources)
                try caches.wait("word of the trouble") { caches.troubles == sources && caches.find("before") }
                // The files can be opened now; what is opened is not for writing.
                try Access.folder.set(self.left)
                try caches.wait("attempts") { caches.status("cache_write_failures").allSatisfy { Int($0) ?? 0 >= 2 } }
                #expect(caches.recoveries == 0)
                #expect(caches.status("alarm").allSatisfy { $0.contains("readonly") || $0.contains("denied") })
                try caches.wait("rows") { caches.find("before") }
                try Access.full.set(self.left)
                try caches.wait("the end of the trouble") { caches.recoveries == sources }
                try caches.store("after")
                try caches.wait("the end of the alarm") { caches.status("alarm").allSatisfy { $0.isEmpty } }
                #expect((caches.troubles, caches.recoveries) == (sources, sources))
            }
            let next = try Caches(self.left, count: sources)
            try next.wait("rows") { next.find("before") && next.find("after") }
        }
    }

    /// A worker that ran on was taken for one whose file is current, and the next one let the device in.
    @Test func `regression: who is removed after a cache that was read-only works again stays out`() throws {
        let redis = try RedisServer(options: ["--unixsocketperm", "777"])
        #expect(chmod(redis.directory.path, 0o755) == 0)
        let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: self.path)
        for device in ["gone", "stays"] { try redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        try OrdinaryUser.run(owning: self.folder.path) {
            let first = try WorkerHarness(configuration)
            try first.waitForStatus("changes_learned_by") { $0 == "tracking" }
            for device in ["gone", "stays"] { #expect(try first.ask(device, password: "p").outcome == .allow) }
            try first.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= 2 }
            try self.leave()
            first.stop()

            let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: self.left)
            try Access.none.set(self.left)
            let worker = try WorkerHarness(configuration)
            try worker.waitForStatus("alarm") { $0.hasPrefix("the authentication cache is not usable") }
            try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
            try Access.full.set(self.left)
            try worker.waitForStatus("alarm") { $0 == "0" }
            try redis.cli(["del", "tls_domain:gone"])
            try worker.turn { try worker.ask("gone", password: "p").reason == .noSuchDevice }
            try worker.waitForStatus("cache_writes_waiting") { $0 == "0" }
            // Nobody turns it any more.
            redis.kill()
            let next = try WorkerHarness(configuration)
            #expect(try next.ask("gone", password: "p").outcome != .allow)
            #expect(try next.ask("stays", password: "p").outcome == .allow)
            withExtendedLifetime(worker) {}
        }
    }

    @Test func `regression: pages that cannot be had at the start are shared as soon as they can be`() throws {
        let path = self.folder.file("marks")
        // In its place.
        #expect(mkdir(path, 0o700) == 0)
        func mark(_ name: String, _ time: Int64) -> CacheWrite {
            .markChanged(redisKey: Array(name.utf8), atMilliseconds: time)
        }
        func concerns(_ marks: MissingMarks, _ name: String) -> Bool {
            marks.concern(LookupKey(redisKey: Array(name.utf8)), knownCurrentMilliseconds: 0)
        }
        let early = (0..<2).map { _ in MissingMarks(page: SharedPage(path: path)) }
        func note(_ marks: MissingMarks, _ name: String, _ time: Int64) {
            marks.awaits(marks.note(mark(name, time)))
        }
        note(early[0], "a", 1000)
        note(early[1], "b", 2000)
        for marks in early { marks.relink(nowMilliseconds: 3000) }
        #expect(early.allSatisfy { !$0.isShared })
        #expect(!concerns(early[1], "a"))
        #expect(rmdir(path) == 0)
        let late = MissingMarks(page: SharedPage(path: path))
        note(late, "c", 500)
        for marks in early { marks.relink(nowMilliseconds: 3000) }
        #expect(
            (early + [late]).allSatisfy { marks in
                marks.isShared && ["a", "b", "c"].allSatisfy { concerns(marks, $0) } && !concerns(marks, "d")
            }
        )
    }

    @Test func `regression: marks that were made before are read where they cannot be written`() throws {
        try OrdinaryUser.run(owning: self.folder.path) {
            let path = self.folder.file("marks")
            _ = MissingMarks(page: SharedPage(path: path)).note(.markAllChanged(atMilliseconds: 5))
            #expect(chmod(path, 0o400) == 0)
            let page = SharedPage(path: path)
            #expect(page.trouble?.description.contains(path) == true)
            let marks = MissingMarks(page: page)
            #expect(!marks.isShared)
            #expect(marks.concern(LookupKey(redisKey: [1]), knownCurrentMilliseconds: 5))
        }
    }

    @Test(arguments: [nil, 900, 1100] as [Int64?])
    func `regression: a suspension that one worker knew alone is that of all, unless somebody confirmed it meanwhile`(
        confirmedAt: Int64?
    ) throws {
        let path = self.folder.file("denials")
        #expect(mkdir(path, 0o700) == 0)
        func guardian(_ worker: Int) -> DenialGuard {
            DenialGuard(account: DenialAccount(page: SharedPage(path: path), worker: worker, boot: 1))
        }
        func time(_ milliseconds: Int64) -> AuthTime {
            AuthTime(monotonic: 5 * Nanoseconds.perSecond, wallMilliseconds: milliseconds)
        }
        let early = DenialAccount(page: SharedPage(path: path), worker: 1, boot: 1)
        let one = DenialGuard(account: early)
        early.suspend(atMilliseconds: 1000, vanishingSince: 990)
        #expect(rmdir(path) == 0)
        var other = guardian(2)
        if let confirmedAt { other.confirm(now: time(confirmedAt)) }
        one.relink(nowMilliseconds: 2000)
        let isSuspended = (confirmedAt ?? 0) < 1000
        #expect([one, other, guardian(3)].allSatisfy { $0.isShared && $0.isSuspended == isSuspended })
    }
}
