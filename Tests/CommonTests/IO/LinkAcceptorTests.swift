import Common
import Glibc
import TestSupport
import Testing

/// What somebody does to the name of a socket while its process goes on.
@Suite struct LinkAcceptorTests {
    private final class Server {
        private(set) var changes: [LinkAcceptor.Change] = []
        private(set) var connections: [Int32] = []
        private(set) var acceptor: LinkAcceptor?

        init(_ loop: EventLoop, _ path: String, folderMode: mode_t? = nil) throws {
            self.acceptor = try LinkAcceptor(
                loop: loop,
                path: path,
                folderMode: folderMode,
                allowedUsers: [],
                refused: { _ in },
                changed: { [unowned self] in self.changes.append($0) },
                makeLink: { [unowned self] fileDescriptor, _ in self.connections.append(fileDescriptor) }
            )
        }

        func close() {
            self.acceptor?.close()
            for connection in self.connections { Glibc.close(connection) }
        }
    }

    private let directory: TemporaryDirectory
    private let loop: EventLoop

    init() throws {
        self.directory = try TemporaryDirectory()
        self.loop = try EventLoop()
    }

    private func mode(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    /// Who is connected notices nothing, so nobody else did either, until a peer was restarted.
    @Test func `a socket that was removed is there again, and those that are connected stay`() throws {
        let path = self.directory.file("router.sock")
        let server = try Server(self.loop, path)
        defer { server.close() }
        let before = try UnixSocket.connect(path: path)
        defer { close(before) }
        // In the kernel's queue, and not accepted yet.
        let waiting = try UnixSocket.connect(path: path)
        defer { close(waiting) }
        for round in 1...2 {
            let mode = self.mode(path)
            #expect(unlink(path) == 0)
            #expect(try self.loop.turn { server.changes.count == round })
            #expect(server.changes.last == .madeAgain(path: path))
            #expect(self.mode(path) == mode)
        }
        let after = try UnixSocket.connect(path: path)
        defer { close(after) }
        #expect(try self.loop.turn { server.connections.count == 3 })
        sendNow(server.connections[0], [7])
        #expect(receiveNow(before) == [7])
        #expect(server.acceptor?.problem == nil)
    }

    @Test func `another process that took the place keeps it until it ends`() throws {
        let path = self.directory.file("router.sock")
        let server = try Server(self.loop, path)
        defer { server.close() }
        #expect(unlink(path) == 0)
        let other = try UnixSocket.listen(path: path)
        let stamp = try #require(FileStamp(path))
        #expect(try self.loop.turn { !server.changes.isEmpty })
        let sentence = "\(path) was removed, and another process answers there now: end one of the two"
        #expect(server.changes == [.unreachable(sentence)])
        #expect(server.acceptor?.problem == sentence)
        #expect(FileStamp(path)?.isOfSameFile(as: stamp) == true)
        close(other)
        #expect(try self.loop.turn { server.changes.count == 2 })
        #expect(server.changes.last == .madeAgain(path: path))
        #expect(server.acceptor?.problem == nil)
    }

    /// A process that ends took the socket of its successor with it.
    @Test func `closing removes no socket of another process`() throws {
        let path = self.directory.file("router.sock")
        let server = try Server(self.loop, path)
        #expect(unlink(path) == 0)
        let other = try UnixSocket.listen(path: path)
        defer { close(other) }
        server.close()
        let client = try UnixSocket.connect(path: path)
        close(client)
    }

    @Test func `a folder that is gone is named, and when it is there again so is the socket`() throws {
        let folder = self.directory.file("run")
        #expect(mkdir(folder, 0o700) == 0)
        let path = folder + "/router.sock"
        let server = try Server(self.loop, path)
        defer { server.close() }
        _ = try runProcess("rm", arguments: ["-r", folder])
        #expect(try self.loop.turn { !server.changes.isEmpty })
        let sentence = "\(path) is gone, and cannot be made again: listen on \(path): No such file or directory"
        #expect(server.changes == [.unreachable(sentence)])
        #expect(mkdir(folder, 0o700) == 0)
        #expect(try self.loop.turn { server.changes.count == 2 })
        #expect(server.changes.last == .madeAgain(path: path))
    }

    @Test func `a folder that the acceptor has made is made again`() throws {
        let path = self.directory.file("control/router-1.sock")
        let server = try Server(self.loop, path, folderMode: 0o750)
        defer { server.close() }
        _ = try runProcess("rm", arguments: ["-r", self.directory.file("control")])
        #expect(try self.loop.turn { !server.changes.isEmpty })
        #expect(server.changes == [.madeAgain(path: path)])
        let client = try UnixSocket.connect(path: path)
        close(client)
    }

    @Test func `a file of another kind in its place is left alone, and named`() throws {
        let path = self.directory.file("router.sock")
        let server = try Server(self.loop, path)
        defer { server.close() }
        #expect(unlink(path) == 0)
        try writeFile(path, Array("mine".utf8))
        #expect(try self.loop.turn { !server.changes.isEmpty })
        let sentence = "\(path) is gone, and cannot be made again: listen on \(path): File exists"
        #expect(server.changes == [.unreachable(sentence)])
        #expect(try readFile(path) == Array("mine".utf8))
        #expect(unlink(path) == 0)
        #expect(try self.loop.turn { server.changes.count == 2 })
    }
}
