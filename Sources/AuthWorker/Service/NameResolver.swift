import CLinux
import Common
import Glibc

/// A socket address as the kernel takes it.
struct SocketAddress: Equatable, Sendable {
    var bytes: [UInt8]

    var family: Int32 {
        self.bytes.withUnsafeBytes { Int32($0.loadUnaligned(as: sa_family_t.self)) }
    }
}

/// Looks host names up on a thread of its own: getaddrinfo(3) may take many seconds where the network is broken, just when
/// devices with cached rows must not wait.
final class NameResolver {
    private final class Job: @unchecked Sendable {
        let host: String
        let port: UInt16
        let waker: Waker.Handle
        let monitor = Monitor()
        private var result: Result<[SocketAddress], RedisFailure>?

        init(host: String, port: UInt16, waker: Waker.Handle) {
            self.host = host
            self.port = port
            self.waker = waker
        }

        func run() {
            let found = NameResolver.lookUp(self.host, self.port, numericOnly: false)
            self.monitor.locked { self.result = found }
            self.waker.wake()
        }

        func take() -> Result<[SocketAddress], RedisFailure>? {
            self.monitor.locked { self.result }
        }
    }

    private let waker: Waker.Handle
    private var job: Job?
    /// What the look-up under way, or the last one, is about.
    private(set) var server: RedisURL.Server?

    /// - Parameter waker: woken when `takeResult` has something.
    init(waker: Waker.Handle) {
        self.waker = waker
    }

    /// Starts a look-up, unless one is under way.
    func start(host: String, port: UInt16) {
        guard self.job == nil else { return }
        let job = Job(host: host, port: port, waker: self.waker)
        guard let thread = try? JoinableThread({ job.run() }) else { return }
        thread.detach()
        self.job = job
        self.server = .tcp(host: host, port: port)
    }

    func takeResult() -> Result<[SocketAddress], RedisFailure>? {
        guard let result = self.job?.take() else { return nil }
        self.job = nil
        return result
    }

    /// With `numericOnly` it asks nobody, and finds only what is an address already.
    static func lookUp(_ host: String, _ port: UInt16, numericOnly: Bool) -> Result<[SocketAddress], RedisFailure> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV | (numericOnly ? AI_NUMERICHOST : AI_ADDRCONFIG)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0 else { return .failure(.connect("\(host): \(String(cString: gai_strerror(code)))")) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = list
        while let current = entry {
            let start = UnsafeRawPointer(current.pointee.ai_addr)
            let bytes = UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(current.pointee.ai_addrlen))
            let address = SocketAddress(bytes: [UInt8](bytes))
            if bytes.count >= 2, !addresses.contains(address) { addresses.append(address) }
            entry = current.pointee.ai_next
        }
        return addresses.isEmpty ? .failure(.connect("\(host) has no address")) : .success(addresses)
    }
}
