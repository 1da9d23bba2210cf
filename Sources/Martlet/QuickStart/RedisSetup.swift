import CLinux
import Common
import Glibc

/// A connection to Redis that waits for each reply: for the few commands of the quick start.
package final class RedisSetup {
    private let fileDescriptor: Int32
    private let shown: String
    private var received: [UInt8] = []

    /// Connects, and waits for that and for each reply for at most `timeoutSeconds`.
    package init(_ url: RedisURL, password: [UInt8]?, timeoutSeconds: Int = 3) throws(CommandFailure) {
        self.shown = "Redis at \(url)"
        switch url.server {
        case .unixSocket(let path):
            do {
                self.fileDescriptor = try UnixSocket.connect(path: path)
            } catch {
                throw CommandFailure("cannot connect to Redis at \(url): \(error.reason)")
            }
            _ = fcntl(self.fileDescriptor, F_SETFL, 0)
        case .tcp(let host, let port):
            self.fileDescriptor = try Self.connect(host, port, timeoutSeconds, shown: "\(url)")
        }
        Self.setTimeouts(self.fileDescriptor, timeoutSeconds)
        if let password {
            let user = url.user.map { [Array($0.utf8)] } ?? []
            _ = try self.run([Array("AUTH".utf8)] + user + [password])
        }
        if url.database != 0 { _ = try self.run("SELECT", "\(url.database)") }
    }

    deinit {
        close(self.fileDescriptor)
    }

    /// Whether a Redis that serves (and is not loading its data) is at a Unix socket.
    package static func answers(atSocket path: String) -> Bool {
        guard let redis = try? RedisSetup(.unixSocket(path), password: nil, timeoutSeconds: 1) else { return false }
        return (try? redis.run("PING")) == .status(Array("PONG".utf8))
    }

    /// Sets the quick start's row if it is not there, and returns the password that is in force.
    package func provision(deviceName: String, password: String) throws(CommandFailure) -> String {
        let key = "tls_domain:\(deviceName)"
        _ = try self.run("HSETNX", key, "password", password)
        guard case .bulk(let stored?) = try self.run("HGET", key, "password") else { return password }
        return String(decoding: stored, as: UTF8.self)
    }

    @discardableResult
    package func run(_ words: String...) throws(CommandFailure) -> RESPValue {
        try self.run(words.map { Array($0.utf8) })
    }

    private func run(_ command: [[UInt8]]) throws(CommandFailure) -> RESPValue {
        var request = RESPValue.encode(command: command)[...]
        while !request.isEmpty {
            let count = request.withUnsafeBytes {
                send(self.fileDescriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw self.failure(errno) }
            request = request.dropFirst(count)
        }
        while true {
            switch RESPValue.decode(self.received) {
            case .value(.error(let text), _):
                let reason = String(decoding: text, as: UTF8.self)
                throw CommandFailure("\(self.shown) answered: \(reason)")
            case .value(let value, let byteCount):
                self.received.removeFirst(byteCount)
                return value
            case .invalid:
                throw CommandFailure("\(self.shown) does not answer as Redis does")
            case .needMore:
                var chunk = [UInt8](repeating: 0, count: 4096)
                let count = recv(self.fileDescriptor, &chunk, chunk.count, 0)
                if count < 0, errno == EINTR { continue }
                guard count != 0 else { throw CommandFailure("\(self.shown) closed the connection") }
                guard count > 0 else { throw self.failure(errno) }
                self.received += chunk.prefix(count)
            }
        }
    }

    private func failure(_ code: Int32) -> CommandFailure {
        let reason = code == EAGAIN ? "no answer in time" : Configuration.describe(code)
        return CommandFailure("\(self.shown): \(reason)")
    }

    // MARK: Connecting

    private static func setTimeouts(_ fileDescriptor: Int32, _ seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        let length = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVTIMEO, &time, length)
        setsockopt(fileDescriptor, SOL_SOCKET, SO_SNDTIMEO, &time, length)
    }

    private static func connect(
        _ host: String,
        _ port: UInt16,
        _ timeoutSeconds: Int,
        shown: String
    ) throws(CommandFailure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, "\(port)", &hints, &list)
        guard result == 0 else {
            let reason = gai_strerror(result).map { String(cString: $0) } ?? "unknown host"
            throw CommandFailure("cannot connect to Redis at \(shown): \(host): \(reason)")
        }
        defer { freeaddrinfo(list) }
        var code: Int32 = EADDRNOTAVAIL
        var cursor = list
        while let entry = cursor {
            cursor = entry.pointee.ai_next
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            let fileDescriptor = socket(entry.pointee.ai_family, type, 0)
            guard fileDescriptor >= 0 else { continue }
            // The time-out for sending covers connect too.
            Self.setTimeouts(fileDescriptor, timeoutSeconds)
            if Glibc.connect(fileDescriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 {
                return fileDescriptor
            }
            code = errno == EINPROGRESS ? ETIMEDOUT : errno
            close(fileDescriptor)
        }
        throw CommandFailure("cannot connect to Redis at \(shown): \(Configuration.describe(code))")
    }
}
