import CLinux
import Common
import Glibc

/// A program under test that runs beside the test; what it writes goes to a file. Ended with the object.
package final class ChildProcess {
    package let name: String
    package let logFile: String
    package private(set) var processID: pid_t
    private var exitStatus: Int32?

    /// - Parameters:
    ///   - sockets: become descriptors 3, 4, …, announced as by systemd (LISTEN_FDS) under `socketNames`.
    ///   - logFile: appended to, so that a restarted process goes on in it.
    package init(
        _ path: String,
        arguments: [String] = [],
        environment: [String: String] = [:],
        sockets: [Int32] = [],
        socketNames: [String] = [],
        name: String,
        logFile: String
    ) throws {
        self.name = name
        self.logFile = logFile
        let log = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw ProcessError(description: "open \(logFile): errno \(errno)") }
        defer { close(log) }
        var variables = ProcessEnvironment.current()
        for (key, value) in environment { variables[key] = value }
        if !sockets.isEmpty {
            variables["LISTEN_FDS"] = "\(sockets.count)"
            variables["LISTEN_FDNAMES"] = socketNames.joined(separator: ":")
        }
        let argumentVector: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        let environmentVector: [UnsafeMutablePointer<CChar>?] =
            variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argumentVector + environmentVector).forEach { free($0) } }
        self.processID = martlet_spawn(
            path,
            argumentVector,
            environmentVector,
            sockets,
            Int32(sockets.count),
            log,
            sockets.isEmpty ? 0 : 1,
            // A test's thread ends before its processes do.
            0
        )
        guard self.processID > 0 else {
            throw ProcessError(description: "cannot start \(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        if self.exitStatus == nil {
            kill(self.processID, SIGKILL)
            self.reap(options: 0)
        }
    }

    package var isRunning: Bool {
        if self.exitStatus == nil { self.reap(options: WNOHANG) }
        return self.exitStatus == nil
    }

    package func signal(_ number: Int32) {
        if self.isRunning { kill(self.processID, number) }
    }

    /// Waits for the end: the exit code, or 128 + the signal's number.
    package func waitForExit(seconds: Double = 30) throws -> Int32 {
        try waitUntil("\(self.name) has ended", seconds: seconds) { !self.isRunning }
        return self.exitStatus ?? -1
    }

    /// Ends it at once and waits until it is gone.
    package func killNow() {
        self.signal(SIGKILL)
        if self.exitStatus == nil { self.reap(options: 0) }
    }

    /// Everything it has written so far.
    package var log: String {
        let file = open(self.logFile, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(file, &chunk, chunk.count), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Waits until `text` was written `count` times.
    package func waitForLog(_ text: String, count: Int = 1, seconds: Double = 30) throws {
        try waitUntil("\(self.name) writes \"\(text)\"; it wrote:\n\(self.log)", seconds: seconds) {
            self.log.components(separatedBy: text) > count || !self.isRunning
        }
        guard self.log.components(separatedBy: text) > count else {
            throw ProcessError(description: "\(self.name) ended before it wrote \"\(text)\":\n\(self.log)")
        }
    }

    private func reap(options: Int32) {
        var status: Int32 = 0
        let result = waitpid(self.processID, &status, options)
        guard result == self.processID else { return }
        let signal = status & 0x7F
        self.exitStatus = signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }
}

extension String {
    /// How many pieces `separator` cuts the string into.
    fileprivate func components(separatedBy separator: String) -> Int {
        var count = 1
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

/// Looks at a condition every few milliseconds until it holds.
package func waitUntil(
    _ what: @autoclosure () -> String,
    seconds: Double = 30,
    _ condition: () throws -> Bool
) throws {
    let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
    while try !condition() {
        guard Clock.monotonic() < deadline else {
            throw ProcessError(description: "waited \(seconds) s until \(what())")
        }
        usleep(5000)
    }
}
