import Glibc
import Synchronization
import TestSupport

/// A real redis-server in a folder of its own, ended with the object.
final class RedisServer {
    enum Place {
        case unixSocket
        case tcp(port: UInt16)
    }

    let directory: TemporaryDirectory
    let socketPath: String
    private let place: Place
    private var process: pid_t = 0

    init(_ place: Place = .unixSocket, options: [String] = []) throws {
        self.directory = try TemporaryDirectory("martlet-redis")
        self.socketPath = self.directory.file("redis.sock")
        self.place = place
        try self.start(options: options)
    }

    deinit {
        self.kill()
    }

    func start(options: [String] = []) throws {
        var arguments = [
            "redis-server", "--save", "", "--appendonly", "no", "--dir", self.directory.path, "--unixsocket",
            self.socketPath, "--logfile", self.directory.file("log"), "--daemonize", "no",
        ]
        switch self.place {
        case .unixSocket: arguments += ["--port", "0"]
        case .tcp(let port): arguments += ["--port", "\(port)", "--bind", "127.0.0.1"]
        }
        arguments += options
        let vector: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { vector.forEach { free($0) } }
        guard posix_spawnp(&self.process, "redis-server", nil, nil, vector, environ) == 0 else {
            throw ProcessError(description: "redis-server cannot be started")
        }
        for _ in 0..<1000 {
            let (_, output) = try self.cli(["ping"])
            if output.hasPrefix("PONG") || output.hasPrefix("NOAUTH") || output.hasPrefix("LOADING") { return }
            var status: Int32 = 0
            guard waitpid(self.process, &status, WNOHANG) == 0 else {
                self.process = 0
                throw ProcessError(description: "redis-server ended: \(try self.log())")
            }
            usleep(10_000)
        }
        throw ProcessError(description: "redis-server does not answer")
    }

    func log() throws -> String {
        try runProcess("cat", arguments: [self.directory.file("log")]).output
    }

    @discardableResult
    func cli(_ arguments: [String]) throws -> (status: Int32, output: String) {
        try runProcess("redis-cli", arguments: ["-s", self.socketPath] + arguments)
    }

    /// Ends it as `kill -9` does.
    func kill() {
        guard self.process > 0 else { return }
        Glibc.kill(self.process, SIGKILL)
        var status: Int32 = 0
        while waitpid(self.process, &status, 0) < 0, errno == EINTR {}
        self.process = 0
        unlink(self.socketPath)
    }

    func signal(_ number: Int32) {
        if self.process > 0 { Glibc.kill(self.process, number) }
    }

    /// How often a command was called, by Redis' own count.
    func calls(of command: String) throws -> Int {
        let (_, output) = try self.cli(["info", "commandstats"])
        for line in output.split(whereSeparator: \.isNewline) {
            let prefix = "cmdstat_\(command):calls="
            guard line.hasPrefix(prefix) else { continue }
            return Int(line.dropFirst(prefix.count).prefix { $0.isNumber }) ?? -1
        }
        return 0
    }

    /// A port that is free, and that no outgoing connection takes before a server is there: it is below those that the kernel chooses
    /// (ip(7), `ip_local_port_range`), and no other test is given it soon.
    static func freePort() throws -> UInt16 {
        for _ in 0..<1_000 {
            let number = Self.portsGiven.wrappingAdd(1, ordering: .relaxed).newValue
            let port = Self.ports.lowerBound + UInt16(number % UInt64(Self.ports.count))
            if Self.isFree(port) { return port }
        }
        throw ProcessError(description: "no free port")
    }

    private static let ports: Range<UInt16> = 12_000..<22_000
    /// Begins elsewhere in each process.
    private static let portsGiven = Atomic(UInt64.random(in: 0..<10_000))

    private static func isFree(_ port: UInt16) -> Bool {
        let fileDescriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(fileDescriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fileDescriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
