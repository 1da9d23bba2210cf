import CLinux
import Common
import Glibc
import TLS

/// A connection to a web server that waits until its deadline, and no longer.
final class HTTPStream {
    private let fileDescriptor: Int32
    private let tls: TLSConnection?
    private let deadline: Instant

    init(_ address: HTTPAddress, deadline: Instant) throws(HTTPClient.Failure) {
        self.deadline = deadline
        self.fileDescriptor = try Self.connect(address, deadline: deadline)
        guard address.isSecure else {
            self.tls = nil
            return
        }
        do throws(TLSError) {
            let context = try TLSClientContext(TLSClientConfiguration())
            self.tls = context.makeConnection(fileDescriptor: self.fileDescriptor, serverName: address.host)
        } catch {
            Glibc.close(self.fileDescriptor)
            throw .init(error.description)
        }
        try self.handshake(address.host)
    }

    deinit {
        Glibc.close(self.fileDescriptor)
    }

    /// One that answers does so in a fraction of it; there may be several addresses to try.
    private static let connectNanoseconds = 5 * Nanoseconds.perSecond

    private static func connect(_ address: HTTPAddress, deadline: Instant) throws(HTTPClient.Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address.host, "\(address.port)", &hints, &list)
        guard code == 0 else { throw .init("\(address.host): \(String(cString: gai_strerror(code)))") }
        defer { freeaddrinfo(list) }
        var problem = "\(address.host) has no address"
        var entry = list
        while let current = entry {
            entry = current.pointee.ai_next
            let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
            let fileDescriptor = socket(current.pointee.ai_family, type, 0)
            guard fileDescriptor >= 0 else { continue }
            let result = Glibc.connect(fileDescriptor, current.pointee.ai_addr, current.pointee.ai_addrlen)
            if result == 0 || errno == EINPROGRESS {
                var error = ETIMEDOUT
                if Self.wait(fileDescriptor, POLLOUT, min(deadline, Clock.monotonic() &+ Self.connectNanoseconds)) {
                    var length = socklen_t(MemoryLayout<Int32>.size)
                    getsockopt(fileDescriptor, SOL_SOCKET, SO_ERROR, &error, &length)
                    if error == 0 { return fileDescriptor }
                }
                errno = error
            }
            problem = SystemError("connect to \(address.host):\(address.port)").description
            Glibc.close(fileDescriptor)
        }
        throw .init(problem)
    }

    /// False: the deadline has passed.
    private static func wait(_ fileDescriptor: Int32, _ events: Int32, _ deadline: Instant) -> Bool {
        let now = Clock.monotonic()
        guard now < deadline else { return false }
        var entry = pollfd(fd: fileDescriptor, events: Int16(events), revents: 0)
        return poll(&entry, 1, Int32(clamping: (deadline - now) / Nanoseconds.perMillisecond + 1)) > 0
    }

    private func wait(_ events: Int32) throws(HTTPClient.Failure) {
        guard Self.wait(self.fileDescriptor, events, self.deadline) else { throw .init("no answer in time") }
    }

    private func handshake(_ host: String) throws(HTTPClient.Failure) {
        guard let tls = self.tls else { throw .init("TLS to \(host) cannot begin") }
        while true {
            switch tls.handshake() {
            case .done: return
            case .wantsRead: try self.wait(POLLIN)
            case .wantsWrite: try self.wait(POLLOUT)
            case .failed(let failure): throw .init("TLS to \(host): \(failure)")
            }
        }
    }

    func write(_ bytes: [UInt8]) throws(HTTPClient.Failure) {
        var rest = bytes
        while !rest.isEmpty {
            switch self.send(rest) {
            case .bytes(let count): rest.removeFirst(count)
            case .wantsRead: try self.wait(POLLIN)
            case .wantsWrite: try self.wait(POLLOUT)
            case .closed: throw .init("the server ended the connection")
            case .failed(let failure): throw .init("\(failure)")
            }
        }
    }

    /// What comes next; empty when the server has ended.
    func read() throws(HTTPClient.Failure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            switch buffer.withUnsafeMutableBytes({ self.receive($0) }) {
            case .bytes(let count): return Array(buffer[..<count])
            case .wantsRead: try self.wait(POLLIN)
            case .wantsWrite: try self.wait(POLLOUT)
            case .closed: return []
            case .failed(let failure): throw .init("\(failure)")
            }
        }
    }

    private func send(_ bytes: [UInt8]) -> TLSConnection.IOResult {
        if let tls = self.tls { return bytes.withUnsafeBytes { tls.write($0) } }
        let count = Glibc.send(self.fileDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        return count > 0 ? .bytes(count) : errno == EAGAIN || errno == EINTR ? .wantsWrite : .closed
    }

    private func receive(_ buffer: UnsafeMutableRawBufferPointer) -> TLSConnection.IOResult {
        if let tls = self.tls { return tls.read(into: buffer) }
        let count = recv(self.fileDescriptor, buffer.baseAddress, buffer.count, 0)
        if count > 0 { return .bytes(count) }
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? .wantsRead : .closed
    }
}
