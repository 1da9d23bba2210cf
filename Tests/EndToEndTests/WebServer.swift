import TestSupport
import Testing

/// Serves a folder over HTTP at a port of the system's choice.
struct WebServer {
    let directory: TemporaryDirectory
    let process: ChildProcess
    let port: UInt16

    init() throws {
        self.directory = try TemporaryDirectory("martlet-web")
        self.process = try ChildProcess(
            "/usr/bin/python3",
            arguments: ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", self.directory.path],
            name: "web",
            logFile: self.directory.path + ".log"
        )
        try self.process.waitForLog("Serving HTTP")
        self.port = try #require(self.process.log.split(separator: " ").compactMap { UInt16($0) }.first)
    }
}
