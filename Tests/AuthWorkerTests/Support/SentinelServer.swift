import TestSupport

/// A real Redis Sentinel in a folder of its own, ended with the object.
final class SentinelServer {
    let port: UInt16
    private let directory: TemporaryDirectory
    private let process: ChildProcess

    /// - Parameter master: the port of the server that it calls `mymaster`.
    init(master: UInt16, quorum: Int = 1) throws {
        self.port = try RedisServer.freePort()
        self.directory = try TemporaryDirectory("martlet-sentinel")
        let text = """
            port \(self.port)
            bind 127.0.0.1
            dir \(self.directory.path)
            sentinel monitor mymaster 127.0.0.1 \(master) \(quorum)
            sentinel down-after-milliseconds mymaster 500
            sentinel failover-timeout mymaster 3000

            """
        let file = self.directory.file("sentinel.conf")
        try writeFile(file, Array(text.utf8))
        self.process = try ChildProcess(
            "/usr/bin/redis-server",
            arguments: [file, "--sentinel"],
            name: "sentinel",
            logFile: self.directory.file("log")
        )
        try waitUntil("the Sentinel answers") { try self.cli(["ping"]).hasPrefix("PONG") }
    }

    deinit {
        self.process.killNow()
    }

    func kill() {
        self.process.killNow()
    }

    func cli(_ arguments: [String]) throws -> String {
        try runProcess("redis-cli", arguments: ["-p", "\(self.port)"] + arguments).output
    }
}
