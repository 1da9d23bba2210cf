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

    /// The link became a file of its own, which listeners on other hosts did not see.
    @Test("Regression: where bans_file is a link, the file that it leads to is written, and the link stays")
    func link() throws {
        let folder = try TemporaryDirectory("martlet-bans")
        try Folder.make(folder.file("shared"))
        #expect(symlink("shared/current", folder.file("bans")) == 0)
        #expect(symlink(folder.file("shared/file"), folder.file("shared/current")) == 0)
        let file = BanFile(path: folder.file("bans"))
        // The first ban makes the file that is not there yet.
        try file.add(Ban(.commonName(Array("a".utf8))))
        try file.add(Ban(.commonName(Array("b".utf8))))
        #expect(try file.remove(.commonName(Array("a".utf8))))
        #expect(try String(decoding: readFile(folder.file("shared/file")), as: UTF8.self) == "cn b\n")
        for link in ["bans", "shared/current"] {
            var status = stat()
            #expect(lstat(folder.file(link), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK, "\(link)")
        }
        // Whoever comes by another link, or by none, waits for the same lock.
        #expect(access(folder.file("shared/file.lock"), F_OK) == 0)
        #expect(access(folder.file("bans.lock"), F_OK) != 0)
    }

    @Test("A ring of links in the place of bans_file is told")
    func ring() throws {
        let folder = try TemporaryDirectory("martlet-bans")
        let path = folder.file("bans")
        #expect(symlink(path, path) == 0)
        let failure = #expect(throws: CommandFailure.self) {
            try BanFile(path: path).add(Ban(.commonName(Array("a".utf8))))
        }
        #expect(failure.map { "\($0)".contains("Too many levels of symbolic links") } == true)
    }

    /// A file that only listeners and one group should read was open to everybody after the first ban.
    @Test("Regression: a changed file of bans belongs to whom it belonged to, and may be read by whom it could be read")
    func owner() throws {
        let folder = try TemporaryDirectory("martlet-bans")
        let path = folder.file("bans")
        try writeFile(path, Array("cn a\n".utf8))
        #expect(chmod(path, 0o640) == 0)
        let isRoot = geteuid() == 0
        if isRoot { #expect(chown(path, 65_534, 65_533) == 0) }
        try BanFile(path: path).add(Ban(.commonName(Array("b".utf8))))
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o640)
        if isRoot { #expect(status.st_uid == 65_534 && status.st_gid == 65_533) }
        // One that was not there can be read by listeners, whose user is another one.
        let new = folder.file("new")
        try BanFile(path: new).add(Ban(.commonName(Array("b".utf8))))
        #expect(stat(new, &status) == 0 && status.st_mode & 0o7777 == 0o644)
    }
}
