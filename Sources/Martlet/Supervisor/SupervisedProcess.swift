import CLinux
import Common
import Glibc

/// A running child: its pid and the pipe with its output.
final class SupervisedProcess: EventHandler {
    let pid: pid_t
    /// The last line it wrote.
    var lastLine: String { self.prefixer.lastLine }
    private let loop: EventLoop
    private let output: Int32
    private var prefixer: LinePrefixer
    private var registration: EventLoop.Registration?

    /// - Parameters:
    ///   - environment: `NAME=value` entries, all of them.
    ///   - sockets: become descriptors 3 and up (LISTEN_FDS).
    init(
        loop: EventLoop,
        program: ChildProgram,
        environment: [String],
        sockets: [ListeningSockets.Socket],
        prefixer: LinePrefixer
    ) throws(SystemError) {
        self.loop = loop
        self.prefixer = prefixer
        var environment = environment
        if !sockets.isEmpty {
            environment.append("LISTEN_FDS=\(sockets.count)")
            environment.append("LISTEN_FDNAMES=\(sockets.map(\.name).joined(separator: ":"))")
        }
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw SystemError("socketpair") }
        defer { Glibc.close(ends[1]) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        let arguments = ([program.path] + program.arguments).map { strdup($0) } + [nil]
        let variables = environment.map { strdup($0) } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        let descriptors = sockets.map(\.fileDescriptor)
        self.pid = martlet_spawn(
            program.path,
            arguments,
            variables,
            descriptors,
            Int32(descriptors.count),
            ends[1],
            sockets.isEmpty ? 0 : 1,
            1
        )
        self.output = ends[0]
        guard self.pid > 0 else {
            let error = SystemError("start \(program.path)")
            Glibc.close(ends[0])
            throw error
        }
        self.registration = try? loop.register(self.output, for: .readable, handler: self)
    }

    func handle(_ events: IOEvents) {
        self.drain()
    }

    /// Passes on what the child wrote.
    private func drain() {
        guard self.registration != nil else { return }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        // Bounded, so that one talkative child does not keep the others waiting.
        for _ in 0..<16 {
            let count = recv(self.output, &bytes, bytes.count, 0)
            if count > 0 {
                Terminal.write(self.prefixer.lines(from: bytes.prefix(count)), to: STDERR_FILENO)
            } else if count == 0 {
                return self.close()
            } else if errno != EINTR {
                return
            }
        }
    }

    /// After its end: passes on the rest. A grandchild may still hold the pipe, so this does not wait for its end.
    func finish() {
        self.drain()
        self.close()
    }

    private func close() {
        guard let registration = self.registration else { return }
        self.registration = nil
        self.loop.deregister(registration)
        Glibc.close(self.output)
        Terminal.write(self.prefixer.rest(), to: STDERR_FILENO)
    }

    func signal(_ number: Int32) {
        _ = Glibc.kill(self.pid, number)
    }

    /// With everything that it started: it leads a process group of its own.
    func kill() {
        _ = Glibc.kill(-self.pid, SIGKILL)
    }
}
