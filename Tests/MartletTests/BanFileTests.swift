import Common
import Glibc
import TestSupport
import Testing

@testable import Martlet

@Suite struct BanFileTests {
    /// It said that the device was banned, and listeners then refused the whole file.
    @Test("Regression: no ban goes into a full file; one that is there can still be replaced, and removed")
    func fullFile() throws {
        let folder = try TemporaryDirectory("martlet-bans")
        let path = folder.file("bans")
        try writeFile(path, Array("# a comment\ncn a\ncn b\n".utf8))
        let file = BanFile(path: path, bansMax: 2)
        let failure = #expect(throws: CommandFailure.self) { try file.add(Ban(.commonName(Array("c".utf8)))) }
        #expect(failure.map { "\($0)".contains("holds 2 bans, and there can be no more") } == true)
        #expect(try String(decoding: readFile(path), as: UTF8.self) == "# a comment\ncn a\ncn b\n")
        try file.add(Ban(.commonName(Array("a".utf8)), reason: "stolen"))
        #expect(try file.remove(.commonName(Array("b".utf8))))
        try file.add(Ban(.commonName(Array("c".utf8))))
        #expect(try file.load().count == 2)
    }

    /// It printed ValueError(message: …), without the file.
    @Test("Regression: a folder in the file's place is told with its path")
    func folder() throws {
        let folder = try TemporaryDirectory("martlet-bans")
        let path = folder.file("bans")
        mkdir(path, 0o755)
        let failure = #expect(throws: CommandFailure.self) {
            try BanFile(path: path).add(Ban(.commonName(Array("a".utf8))))
        }
        #expect(failure.map { "\($0)" } == "\(path): not readable: not a regular file")
    }
}
