import Common
import Glibc
import TLS
import TestSupport
import Testing

@testable import Listener

/// The secret that the listeners of a host make for themselves.
@Suite struct TicketSecretsTests {
    private let folder: TemporaryDirectory
    private var path: String { self.folder.file(TicketSecrets.fileName) }

    init() throws {
        self.folder = try TemporaryDirectory("martlet-tickets")
    }

    private func load(_ warnings: inout [String]) throws -> [UInt8] {
        let tickets = try TicketSecrets.load(
            Configuration.Listener.TLS(),
            runtimeDirectory: self.folder.path,
            warnings: &warnings
        )
        return try #require(tickets?.secrets.first)
    }

    @Test func `listeners that start at once have one secret`() throws {
        nonisolated(unsafe) var secrets = [[UInt8]](repeating: [], count: 8)
        nonisolated(unsafe) var problems: [String] = []
        let monitor = Monitor()
        var threads = try (0..<8).map { number in
            try JoinableThread {
                var warnings: [String] = []
                let secret = (try? self.load(&warnings)) ?? []
                monitor.locked {
                    secrets[number] = secret
                    problems += warnings
                }
            }
        }
        while let thread = threads.popLast() { thread.join() }
        #expect(secrets[0].count == 48)
        #expect(Set(secrets).count == 1)
        #expect(problems.isEmpty)
    }

    /// The listeners did not start any more, until the next boot of the host.
    @Test(arguments: [0, 31, 48])
    func `regression: a secret that was cut short or never written is made anew, the same for all, and told once`(
        bytes: Int
    ) throws {
        try writeFile(self.path, [UInt8](repeating: bytes == 48 ? 0 : 7, count: bytes))
        var warnings: [String] = []
        let secret = try self.load(&warnings)
        #expect(secret.count == 48 && secret.contains { $0 != 0 && $0 != 7 })
        #expect(warnings.count == 1 && warnings[0].contains(self.path), "\(warnings)")
        #expect(try self.load(&warnings) == secret)
        #expect(warnings.count == 1)
        var status = stat()
        #expect(stat(self.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600 && status.st_uid == geteuid())
    }

    @Test func `a secret that cannot be read, or has another form, stays`() throws {
        var warnings: [String] = []
        let long = [UInt8](repeating: 0, count: 5000)
        try writeFile(self.path, long)
        #expect(throws: StartError.self) { try self.load(&warnings) }
        #expect(try readFile(self.path) == long)
        try writeFile(self.path, [1])
        try OrdinaryUser.run(owning: self.folder.path) {
            #expect(chmod(self.folder.path, 0o755) == 0)
            // Of somebody else, or without the right to read it.
            _ = chmod(self.path, 0)
            #expect(throws: StartError.self) { try self.load(&warnings) }
        }
        if geteuid() != 0 { chmod(self.path, 0o600) }
        #expect(try readFile(self.path) == [1])
        unlink(self.path)
        #expect(mkdir(self.path, 0o700) == 0)
        #expect(throws: StartError.self) { try self.load(&warnings) }
        #expect(warnings.isEmpty)
    }
}
