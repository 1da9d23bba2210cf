import Glibc
import TestSupport
import Testing

@testable import Router

struct UnfinishedPacketFilesTests {
    private let folder: TemporaryDirectory
    private var path: String { self.folder.file("packets") }

    init() throws {
        self.folder = try TemporaryDirectory()
    }

    private func message(_ payload: String) -> Message {
        Array(payload.utf8).withUnsafeBytes { Message.make(payload: $0) }
    }

    private func text(_ message: Message?) -> String? {
        message.map { String(decoding: $0.view.payload, as: UTF8.self) }
    }

    private func write(_ path: String, _ text: String) throws {
        let file = try #require(fopen(path, "w"))
        fputs(text, file)
        fclose(file)
    }

    private func names() throws -> [String] {
        let folder = try #require(opendir(self.path))
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
            )
        }
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }

    private func inode(_ name: String) -> ino_t {
        var status = stat()
        return stat("\(self.path)/\(name)", &status) == 0 ? status.st_ino : 0
    }

    @Test func theNextRouterFindsWhatWasKept() throws {
        let files = try UnfinishedPacketFiles(directory: self.path)
        let shared = self.message("for two")
        #expect(files.perform([.keep(session: 1, shared), .keep(session: .max, shared)]) == nil)
        #expect(
            files.perform([.keep(session: 3, self.message("for one")), .keep(session: 4, self.message("x"))]) == nil
        )
        #expect(files.perform([.drop(session: 4), .drop(session: 5)]) == nil)
        #expect(try self.names() == ["1", "18446744073709551615", "3"])
        #expect(self.inode("1") == self.inode("18446744073709551615") && self.inode("1") != self.inode("3"))

        let next = try UnfinishedPacketFiles(directory: self.path)
        let loaded = try next.load()
        #expect(loaded.mapValues { self.text($0) } == [1: "for two", .max: "for two", 3: "for one"])
        #expect(loaded[1] === loaded[.max], "thousands of receivers of one message would fill the memory")
        // One that goes on keeps its file; the others end.
        #expect(next.perform([.drop(session: 1), .drop(session: 3)]) == nil)
        #expect(try self.names() == ["18446744073709551615"])
    }

    @Test func aNewPacketTakesThePlaceOfTheLast() throws {
        let files = try UnfinishedPacketFiles(directory: self.path)
        let shared = self.message("old")
        #expect(files.perform([.keep(session: 1, shared), .keep(session: 2, shared)]) == nil)
        #expect(files.perform([.keep(session: 1, self.message("new"))]) == nil)
        let loaded = try UnfinishedPacketFiles(directory: self.path).load()
        #expect(loaded.mapValues { self.text($0) } == [1: "new", 2: "old"])
    }

    @Test func theLimitCountsEachMessageOnceAndGivesItsBytesBack() throws {
        let files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 2_500)
        let large = self.message(String(repeating: "x", count: 2_000))
        for session in UInt64(1)...50 { #expect(files.perform([.keep(session: session, large)]) == nil) }
        let other = self.message(String(repeating: "y", count: 1_000))
        #expect(files.perform([.keep(session: 60, other)])?.contains("more than 2500 bytes") == true)
        #expect(files.failures == 1)
        _ = files.perform((1...50).map { .drop(session: $0) })
        #expect(files.perform([.keep(session: 60, other)]) == nil)
        #expect(try self.names() == ["60"])
    }

    @Test func whatIsNoSuchFileIsRemovedAndNotFollowed() throws {
        let files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 100)
        #expect(files.perform([.keep(session: 7, self.message("good"))]) == nil)
        let secret = self.folder.file("secret")
        try self.write(secret, "not a packet")
        #expect(symlink(secret, "\(self.path)/8") == 0)
        #expect(mkfifo("\(self.path)/9", 0o600) == 0)
        for (name, text) in [("new", "half"), ("010", "x"), ("11", ""), ("12", String(repeating: "z", count: 200))] {
            try self.write("\(self.path)/\(name)", text)
        }
        let loaded = try UnfinishedPacketFiles(directory: self.path, bytesMax: 100).load()
        #expect(loaded.mapValues { self.text($0) } == [7: "good"])
        #expect(try self.names() == ["7"])
    }

    /// The folder's parent belongs to all roles: none of them is to read what the router writes.
    @Test func aFolderThatOthersMayEnterIsNotUsed() throws {
        #expect(mkdir(self.path, 0o755) == 0 && chmod(self.path, 0o755) == 0)
        #expect(throws: (any Error).self) { try UnfinishedPacketFiles(directory: self.path) }
        #expect(rmdir(self.path) == 0 && symlink(self.folder.path, self.path) == 0)
        #expect(throws: (any Error).self) { try UnfinishedPacketFiles(directory: self.path) }
    }

    @Test func whatCannotBeWrittenIsCountedAndSaid() throws {
        let files = try UnfinishedPacketFiles(directory: self.path)
        #expect(rmdir(self.path) == 0)
        #expect(files.perform([.keep(session: 1, self.message("x"))])?.contains("No such file") == true)
        #expect(files.perform([.drop(session: 1)]) == nil)
        #expect(files.failures == 1)
    }
}
