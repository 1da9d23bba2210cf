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

    private func reload(bytesMax: Int = 1 << 20) throws -> [UInt64: String?] {
        try UnfinishedPacketFiles(directory: self.path, bytesMax: bytesMax).load().mapValues { self.text($0) }
    }

    @Test func theNextRouterFindsWhatWasKept() throws {
        let files = try UnfinishedPacketFiles(directory: self.path)
        let shared = self.message("for two")
        #expect(files.perform([.keep(session: 1, shared), .keep(session: .max, shared)]) == nil)
        #expect(
            files.perform([.keep(session: 3, self.message("for one")), .keep(session: 4, self.message("x"))]) == nil
        )
        #expect(files.perform([.drop(session: 4), .drop(session: 5)]) == nil)
        #expect(try self.names() == ["1", "2", "3", "index"])

        let next = try UnfinishedPacketFiles(directory: self.path)
        let loaded = try next.load()
        #expect(loaded.mapValues { self.text($0) } == [1: "for two", .max: "for two", 3: "for one"])
        #expect(loaded[1] === loaded[.max], "thousands of receivers of one message would fill the memory")
        // One that goes on is kept; the others end, and their memory serves the next ones.
        #expect(next.perform([.drop(session: 1), .drop(session: 3), .keep(session: 9, self.message("new"))]) == nil)
        #expect(try self.reload() == [.max: "for two", 9: "new"])
    }

    @Test func aNewPacketTakesThePlaceOfTheLast() throws {
        let files = try UnfinishedPacketFiles(directory: self.path)
        let shared = self.message("old")
        #expect(files.perform([.keep(session: 1, shared), .keep(session: 2, shared)]) == nil)
        #expect(files.perform([.keep(session: 1, self.message("new"))]) == nil)
        #expect(try self.reload() == [1: "new", 2: "old"])
    }

    /// Against a dictionary, with routers that are killed between any two changes.
    @Test func whatIsKeptIsWhatWasSaidLast() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 4000)
        var expected: [UInt64: String] = [:]
        var messages: [Message] = []
        for step in 0..<3000 {
            let session = UInt64.random(in: 0...12, using: &random)
            if random.oneIn(3) {
                #expect(files.perform([.drop(session: session)]) == nil)
                expected[session] = nil
            } else {
                let text = String(repeating: "\(step) ", count: Int.random(in: 1...40, using: &random))
                let message =
                    random.oneIn(2) ? messages.randomElement(using: &random) ?? self.message(text) : self.message(text)
                messages = messages.suffix(5) + [message]
                let isKept = files.perform([.keep(session: session, message)]) == nil
                expected[session] = isKept ? self.text(message) : nil
            }
            guard random.oneIn(20) else { continue }
            files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 4000)
            let loaded = try files.load()
            #expect(loaded.mapValues { self.text($0) } == expected, "seed \(seed), step \(step)")
        }
        #expect(try self.names().count < 40)
    }

    @Test func theLimitCountsEachMessageOnceAndGivesItsBytesBack() throws {
        let files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 2_500)
        let large = self.message(String(repeating: "x", count: 2_000))
        for session in UInt64(1)...50 { #expect(files.perform([.keep(session: session, large)]) == nil) }
        let other = self.message(String(repeating: "y", count: 1_000))
        #expect(files.perform([.keep(session: 60, other)])?.contains("more than 2500 bytes") == true)
        #expect(files.failures == 1)
        _ = files.perform((1...50).map { .drop(session: $0) })
        #expect(files.perform([.keep(session: 60, self.message(String(repeating: "z", count: 2_400)))]) == nil)
        #expect(try self.names().count == 2)
    }

    @Test func whatIsNoSuchFileIsRemovedAndNotFollowed() throws {
        let files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 100)
        #expect(files.perform([.keep(session: 7, self.message("good"))]) == nil)
        let secret = self.folder.file("secret")
        try self.write(secret, "not a packet")
        #expect(symlink(secret, "\(self.path)/8") == 0)
        #expect(mkfifo("\(self.path)/9", 0o600) == 0)
        for name in ["new", "010", "11"] { try self.write("\(self.path)/\(name)", "x") }
        #expect(try self.reload(bytesMax: 100) == [7: "good"])
        #expect(try self.names() == ["1", "index"])
    }

    /// The index is written by a router of whatever release: what makes no sense in it is as good as nothing.
    @Test func aDamagedIndexNamesNothing() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let files = try UnfinishedPacketFiles(directory: self.path, bytesMax: 1 << 20)
            _ = try files.load()
            _ = files.perform((0..<20).map { .drop(session: $0) })
            for session in UInt64(0)..<5 { _ = files.perform([.keep(session: session, self.message("m\(session)"))]) }
            let index = "\(self.path)/index"
            var bytes = try readFile(index)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            }
            try writeFile(index, Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))))
            for (session, text) in try self.reload() { #expect(text == "m\(session)", "seed \(seed)") }
        }
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
        #expect(unlink("\(self.path)/index") == 0 && rmdir(self.path) == 0)
        #expect(files.perform([.keep(session: 1, self.message("x"))])?.contains("No such file") == true)
        #expect(files.perform([.drop(session: 1)]) == nil)
        #expect(files.failures == 1)
    }
}
