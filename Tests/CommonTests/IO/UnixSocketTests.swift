import Common
import Glibc
import TestSupport
import Testing

@Suite struct UnixSocketTests {
    @Test("A socket file that nobody answers at is replaced")
    func staleFile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sock")
        close(try UnixSocket.listen(path: path))
        #expect(throws: SystemError.self) { _ = try UnixSocket.connect(path: path) }
        let second = try UnixSocket.listen(path: path, mode: 0o600)
        close(try UnixSocket.connect(path: path))
        var information = stat()
        #expect(stat(path, &information) == 0)
        #expect(information.st_mode & 0o777 == 0o600)
        close(second)
    }

    @Test("A socket that somebody answers at is left alone, and the sentence names it")
    func liveSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sock")
        let first = try UnixSocket.listen(path: path)
        let error = #expect(throws: SystemError.self) { _ = try UnixSocket.listen(path: path) }
        #expect(error?.description == "listen on \(path): Address already in use")
        close(try UnixSocket.connect(path: path))
        close(first)
    }

    @Test("Regression: a file that is no socket is not removed")
    func otherFile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("notes.txt")
        let file = open(path, O_CREAT | O_WRONLY, 0o600)
        #expect(write(file, "text", 4) == 4)
        close(file)
        let error = #expect(throws: SystemError.self) { _ = try UnixSocket.listen(path: path) }
        #expect(error?.description == "listen on \(path): File exists")
        var information = stat()
        #expect(stat(path, &information) == 0)
        #expect(information.st_size == 4)
    }

    @Test("A path that is too long is refused with both lengths")
    func longPath() throws {
        let directory = try TemporaryDirectory()
        let fits = directory.path + "/" + String(repeating: "a", count: 106 - directory.path.utf8.count)
        close(try UnixSocket.listen(path: fits))
        let path = fits + "b"
        for attempt in [{ try UnixSocket.listen(path: $0) }, { try UnixSocket.connect(path: $0) }] {
            let error = #expect(throws: SystemError.self) { _ = try attempt(path) }
            #expect(error?.description == "socket path \(path) has 108 bytes, 107 are possible: File name too long")
        }
        #expect(throws: SystemError.self) { _ = try UnixSocket.listen(path: "") }
    }

    @Test("A folder that is missing: the sentence names the path")
    func missingFolder() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("none/a.sock")
        let error = #expect(throws: SystemError.self) { _ = try UnixSocket.listen(path: path) }
        #expect(error?.description == "listen on \(path): No such file or directory")
    }
}
