import Common
import Glibc
import TestSupport
import Testing

@Suite struct AtomicFileTests {
    private let folder: TemporaryDirectory

    init() throws {
        self.folder = try TemporaryDirectory("martlet-atomic")
    }

    private func make(_ name: String, secondsAgo: Int = 3600) throws {
        let path = self.folder.file(name)
        try writeFile(path, [1])
        let moment = timespec(tv_sec: time(nil) - secondsAgo, tv_nsec: 0)
        #expect(utimensat(AT_FDCWD, path, [moment, moment], 0) == 0)
    }

    private func names() throws -> Set<String> {
        Set(try runProcess("ls", arguments: [self.folder.path]).output.split(separator: "\n").map(String.init))
    }

    @Test func `regression: what writers left that were killed is removed, and nothing else`() throws {
        let leftovers: Set = ["key.0.tmp", "key.fedcba9876543210.tmp", "other.name.1a2b.tmp"]
        let others: Set = [
            "key", "key.tmp", "key.1A.tmp", ".12ab.tmp", "key.12ab", "key.12ab.tmp2", "key..tmp",
            "key.0fedcba9876543210.tmp",
        ]
        for name in leftovers.union(others) { try self.make(name) }
        try self.make("young.1.tmp", secondsAgo: 0)
        try self.make("written.2.tmp")
        #expect(mkdir(self.folder.file("folder.3.tmp"), 0o700) == 0)
        let writer = try FileLock(path: self.folder.file("written.2.tmp"))
        #expect(try writer.acquire())

        AtomicFile.removeLeftovers(of: self.folder.file("key"))
        #expect(try self.names().intersection(leftovers) == ["other.name.1a2b.tmp"])
        AtomicFile.removeLeftovers(in: self.folder.path)
        #expect(
            try self.names()
                == others.subtracting([".12ab.tmp"]).union(["young.1.tmp", "written.2.tmp", "folder.3.tmp"])
        )
        #expect(access(self.folder.file(".12ab.tmp"), F_OK) == 0)
        writer.release()
        AtomicFile.removeLeftovers(in: self.folder.path)
        #expect(try !self.names().contains("written.2.tmp"))
    }

    @Test func `what is written is there, with its permissions and nothing beside it`() throws {
        for bytes in [[1, 2, 3], []] as [[UInt8]] {
            try AtomicFile.write(bytes, to: self.folder.file("key"), permissions: 0o640)
            #expect(try readFile(self.folder.file("key")) == bytes)
        }
        var status = stat()
        #expect(stat(self.folder.file("key"), &status) == 0)
        #expect(status.st_mode & 0o777 == 0o640)
        #expect(try self.names() == ["key"])
    }
}
