import AuthCache
import Common
import Glibc
import SQLite
import TestSupport
import Testing

@testable import AuthWorker

@Suite struct DependentLookupsTests {
    private func key(_ name: String, _ related: String...) -> LookupKey {
        LookupKey(
            redisKey: Array(name.utf8),
            variant: Array(related.joined(separator: ",").utf8),
            relatedKeys: related.map { Array($0.utf8) }
        )
    }

    private func names(_ lookups: Set<LookupKey>) -> [String] {
        lookups.map { String(decoding: $0.redisKey, as: UTF8.self) }.sorted()
    }

    @Test func aKeyLeadsToAllThatNeedIt() {
        var dependents = DependentLookups()
        let keys = [self.key("a", "acl", "sa"), self.key("b", "acl", "sb"), self.key("a", "acl", "other")]
        let areNew = (keys + keys).map { dependents.add($0) }
        #expect(areNew == [true, true, true, false, false, false])
        #expect(self.names(dependents.lookups(of: Array("acl".utf8))) == ["a", "a", "b"])
        #expect(self.names(dependents.lookups(of: Array("a".utf8))) == ["a", "a"])
        #expect(self.names(dependents.lookups(of: Array("sb".utf8))) == ["b"])
        #expect(dependents.lookups(of: Array("none".utf8)).isEmpty)
        while let key = dependents.takeOldest() {
            dependents.remove(key)
            for related in key.relatedKeys { #expect(!dependents.lookups(of: related).contains(key)) }
            #expect(!dependents.lookups(of: key.redisKey).contains(key))
        }
        #expect(dependents.count == 0)
        let isNew = dependents.add(keys[0])
        #expect(isNew)
    }

    /// What changes in a large fleet must not hold up those who connect.
    @Test func aChangeCostsTheSameBesideManyRows() throws {
        func nanosecondsForChanges(besideRows rows: Int) throws -> Int {
            var harness = try AuthenticatorHarness(superCommand: "GET s:%C")
            for index in 0..<rows {
                harness.rows["d\(index)"] = "p"
                _ = harness.ask("d\(index)", "p")
            }
            #expect(harness.authenticator.rowsInMemory == rows)
            return (0..<5).map { _ in
                let start = Self.threadNanoseconds()
                for index in 0..<100 { harness.authenticator.changed([Array("s:d\(index)".utf8)], now: harness.time) }
                return Self.threadNanoseconds() - start
            }.min() ?? 0
        }
        let few = try nanosecondsForChanges(besideRows: 100)
        let many = try nanosecondsForChanges(besideRows: 10_000)
        #expect(many < 10 * few, "\(few) ns beside 100 rows, \(many) ns beside 10,000")
    }

    private static func threadNanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    @Test func theFilesRowsAreFoundWithoutALookThroughAll() throws {
        let directory = try TemporaryDirectory("martlet-related")
        let database = try Database(path: directory.file("cache.db"), busyTimeoutMilliseconds: 1000)
        try database.migrate(CacheSchema.steps)
        for (sql, expected) in [
            (RelatedKeys.markChangedSQL, "related_keys USING PRIMARY KEY (source=? AND related_key=?)"),
            (RelatedKeys.selectUnlistedSQL, "rows USING INDEX rows_not_listed (source=?)"),
        ] {
            let statement = try database.prepare("EXPLAIN QUERY PLAN \(sql)")
            var plan: [String] = []
            while try statement.step() { plan.append(statement.text(3) ?? "") }
            #expect(plan.contains { $0.contains(expected) }, "\(plan)")
            #expect(!plan.contains { $0.contains("SCAN rows") }, "\(plan)")
        }
    }

    /// Of names that come and go no more are kept than twice what is in memory.
    @Test func whatIsNotInUseGoes() throws {
        var harness = try AuthenticatorHarness(superCommand: "GET s:%C") {
            $0.memoryEntries = 20
            $0.negativeEntries = 10
        }
        for index in 0..<2000 {
            if index % 2 == 0 { harness.rows["d\(index)"] = "p" }
            _ = harness.ask("d\(index)", "p")
            #expect(harness.authenticator.dependents.count <= 2 * 30 + 2)
        }
        let inMemory = Set(harness.authenticator.known.keys + harness.authenticator.absent.keys)
        for key in inMemory {
            for redisKey in [key.redisKey] + key.relatedKeys {
                #expect(harness.authenticator.dependents.lookups(of: redisKey).contains(key))
            }
        }
    }
}
