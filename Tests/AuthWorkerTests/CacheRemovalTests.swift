import AuthCache
import AuthWorker
import Common
import Glibc
import TestSupport
import Testing

/// Somebody removes what the workers have open.
@Suite struct CacheRemovalTests {
    enum Removal: CaseIterable {
        case folder
        case file
        case content
    }

    private func remove(_ removal: Removal, _ folder: String, _ file: String) throws {
        switch removal {
        case .folder: _ = try runProcess("rm", arguments: ["-r", folder])
        case .file: #expect(unlink(file) == 0)
        case .content: #expect(truncate(file, 0) == 0)
        }
    }

    @Test(arguments: Removal.allCases)
    func `regression: a cache file that is removed or emptied is made anew of what memory holds`(
        _ removal: Removal
    ) throws {
        let cache = try TemporaryDirectory("martlet-cache")
        let redis = try RedisServer()
        let configuration = Configuration.test(redis: .unixSocket(redis.socketPath), cache: cache.file("auth"))
        let devices = (0..<20).map { "d\($0)" }
        for device in devices { try redis.cli(["hset", "tls_domain:\(device)", "password", "p"]) }
        let log = RecordedMessages()
        let workers = [try WorkerHarness(configuration, logHandler: log), try WorkerHarness(configuration)]
        for (index, worker) in workers.enumerated() {
            try worker.waitForStatus("changes_learned_by") { $0 == "tracking" }
            // Each holds rows that the other one does not.
            for device in devices[(index * 10)..<(index * 10 + 10)] {
                #expect(try worker.ask(device, password: "p").outcome == .allow)
            }
            try worker.waitForStatus("cache_rows_written") { Int($0) ?? 0 >= 10 }
        }
        let file = workers[0].status("cache_file")
        try self.remove(removal, cache.file("auth"), file)
        for worker in workers {
            try worker.turn {
                for other in workers { try other.loop.turn(maximumWaitNanoseconds: 0) }
                return worker.status("cache_file") != file && worker.status("cache_writes_waiting") == "0"
                    && Int(worker.status("cache_rows_written")) ?? 0 >= 20
            }
        }
        #expect(workers[0].status("cache_file") == workers[1].status("cache_file"))
        let told = workers.reduce(0) { $0 + (Int($1.status("cache_replacements")) ?? 0) }
        #expect(told == 1)
        for worker in workers { worker.stop() }
        redis.kill()
        let next = try WorkerHarness(configuration)
        let queries = devices.map { AuthQuery.device($0, password: "p") }
        #expect(try next.ask(queries).allSatisfy { $0.outcome == .allow })
    }

    @Test func `a page that is removed is the same one again for those who come later`() throws {
        let folder = try TemporaryDirectory("martlet-page")
        let page = SharedPage(path: folder.file("page"))
        let other = SharedPage(path: folder.file("page"))
        page[3] = 7
        page[0] = 1
        _ = page.relink()
        #expect(unlink(folder.file("page")) == 0)
        _ = page.relink()
        _ = other.relink()
        #expect(other[3] == 7)
        let later = SharedPage(path: folder.file("page"))
        page[4] = 8
        #expect([other, later].allSatisfy { $0[4] == 8 })
    }
}
