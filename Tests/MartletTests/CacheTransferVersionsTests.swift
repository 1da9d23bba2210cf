import AuthCache
import Common
import SQLite
import TestSupport
import Testing

@testable import Martlet

/// What earlier releases exported.
@Suite struct CacheTransferVersionsTests {
    private static let key = [UInt8](repeating: 7, count: CacheDirectory.hostKeyBytes)

    /// Without a digest, as before there were any.
    private func makeExport(_ path: String, version: Int) throws {
        let file = try Database(path: path, busyTimeoutMilliseconds: 1000)
        try file.migrate(Array(CacheSchema.steps.prefix(version)))
        try file.execute("CREATE TABLE host_key (key BLOB NOT NULL)")
        let insert = try file.prepare("INSERT INTO host_key VALUES (?1)")
        try insert.bind(Self.key, at: 1)
        try insert.run()
        try file.execute(
            """
            INSERT INTO rows (source, redis_key, variant, secret_kind, secret, salt, superuser, known_current)
            VALUES (x'01', x'02', x'', 0, x'', x'', 0, 1)
            """
        )
    }

    @Test("Files of all earlier versions of the tables are taken", arguments: 2...CacheSchema.steps.count)
    func versions(version: Int) throws {
        let folder = try TemporaryDirectory("martlet-transfer")
        let path = folder.file("rows")
        try self.makeExport(path, version: version)
        let transfer = CacheTransfer(directory: folder.file("auth-cache"))
        let outcome = try transfer.import(from: path, freshNanoseconds: 0, replacesKey: false)
        #expect(outcome.rows == 1 && outcome.taken == 1 && !outcome.isChecked)
    }

    @Test("A file that says that it is of another version than its tables are is refused", arguments: [-1, 0, 1, 3])
    func otherVersion(said: Int) throws {
        let folder = try TemporaryDirectory("martlet-transfer")
        let path = folder.file("rows")
        try self.makeExport(path, version: 4)
        try Database(path: path, busyTimeoutMilliseconds: 1000).execute("PRAGMA user_version = \(said)")
        let failure = #expect(throws: CommandFailure.self) {
            _ = try CacheTransfer(directory: folder.file("auth-cache"))
                .import(from: path, freshNanoseconds: 0, replacesKey: false)
        }
        #expect(failure.map { "\($0)" }?.contains("is damaged: its tables are not those") == true)
    }
}
