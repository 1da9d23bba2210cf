import CLinux
import Common
import Glibc

protocol RedisTransportDelegate: AnyObject {
    func transportConnected()
    /// The bytes are valid until the call returns.
    func transport(received bytes: UnsafeRawBufferPointer)
    /// The connection could not be made or broke; it is closed.
    func transportFailed(_ failure: RedisFailure)
}

/// The socket below `RedisClient`: TCP or Unix, never waiting.
final class RedisTransport: EventHandler {
    private let loop: EventLoop
    private let server: RedisURL.Server
    private weak var delegate: (any RedisTransportDelegate)?
    private let resolver: NameResolver
    private var waker: Waker?
    /// Of the last look-up that worked: still tried when name servers are out of reach.
    private var addresses: [SocketAddress] = []
    private var nextAddress = 0
    private var waitsForName = false
    private var fileDescriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private var isConnected = false
    private var waitsForWritable = false
    private let receiveBuffer: UnsafeMutableRawBufferPointer

    init(loop: EventLoop, server: RedisURL.Server, delegate: any RedisTransportDelegate) throws(SystemError) {
        self.loop = loop
        self.server = server
        self.delegate = delegate
        self.receiveBuffer = .allocate(byteCount: 64 << 10, alignment: 16)
        let woken = Weak<RedisTransport>()
        let waker = try Waker(loop: loop) { woken.object?.nameFound() }
        self.resolver = NameResolver(waker: waker.handle)
        self.waker = waker
        woken.object = self
    }

    deinit {
        precondition(self.registration == nil, "a Redis connection was dropped without close()")
        self.receiveBuffer.deallocate()
    }

    // MARK: Connecting

    /// Reports connected or failed, possibly before it returns.
    func connect() {
        self.close()
        switch self.server {
        case .unixSocket(let path):
            do throws(SystemError) {
                try self.use(UnixSocket.connect(path: path), connected: true)
            } catch {
                self.delegate?.transportFailed(.connect(error.description))
            }
        case .tcp(let host, let port):
            if case .success(let numeric) = NameResolver.lookUp(host, port, numericOnly: true) {
                self.addresses = numeric
                return self.connectToNextAddress()
            }
            self.waitsForName = true
            self.resolver.start(host: host, port: port)
            // A name server that does not answer is no reason not to try what it said before.
            if !self.addresses.isEmpty { self.connectToNextAddress() }
        }
    }

    private func nameFound() {
        let result = self.resolver.takeResult()
        let waited = self.waitsForName
        self.waitsForName = false
        switch result {
        case nil: return
        case .success(let found):
            self.addresses = found
            if waited, self.registration == nil { self.connectToNextAddress() }
        case .failure(let failure):
            if waited, self.registration == nil { self.delegate?.transportFailed(failure) }
        }
    }

    /// One address an attempt, so that one that does not answer holds nothing up for long.
    private func connectToNextAddress() {
        guard !self.addresses.isEmpty else { return }
        let address = self.addresses[self.nextAddress % self.addresses.count]
        self.nextAddress = (self.nextAddress + 1) % self.addresses.count
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let fileDescriptor = socket(address.family, type, 0)
        guard fileDescriptor >= 0 else {
            self.delegate?.transportFailed(.connect(SystemError("socket").description))
            return
        }
        var one: Int32 = 1
        setsockopt(fileDescriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let result = address.bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) {
                Glibc.connect(fileDescriptor, $0.baseAddress, socklen_t(address.bytes.count))
            }
        }
        guard result == 0 || errno == EINPROGRESS else {
            let error = SystemError("connect to \(self.serverDescription)")
            Glibc.close(fileDescriptor)
            self.delegate?.transportFailed(.connect(error.description))
            return
        }
        do throws(SystemError) {
            try self.use(fileDescriptor, connected: result == 0)
        } catch {
            self.delegate?.transportFailed(.connect(error.description))
        }
    }

    private func use(_ fileDescriptor: Int32, connected: Bool) throws(SystemError) {
        do throws(SystemError) {
            self.registration = try self.loop.register(
                fileDescriptor,
                for: connected ? .readable : [.readable, .writable],
                handler: self
            )
        } catch {
            Glibc.close(fileDescriptor)
            throw error
        }
        self.fileDescriptor = fileDescriptor
        self.isConnected = connected
        self.waitsForWritable = !connected
        if connected { self.delegate?.transportConnected() }
    }

    func close() {
        self.waitsForName = false
        guard let registration = self.registration else { return }
        self.loop.deregister(registration)
        self.registration = nil
        Glibc.close(self.fileDescriptor)
        self.fileDescriptor = -1
        self.isConnected = false
    }

    /// Closes for good.
    func invalidate() {
        self.close()
        // A look-up that is under way still holds the handle: the descriptor stays open for it until the process ends.
        self.waker = nil
    }

    var serverDescription: String {
        switch self.server {
        case .tcp(let host, let port): "\(host):\(port)"
        case .unixSocket(let path): path
        }
    }

    // MARK: Bytes

    /// Sends as much as the socket takes; the rest goes when it is writable. Returns why the connection broke, if it did; the
    /// delegate is not told.
    func send(_ output: inout ByteBuffer) -> RedisFailure? {
        while self.isConnected, !output.isEmpty {
            let bytes = output.readable
            let sent = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if sent > 0 {
                output.consume(sent)
            } else if errno == EAGAIN {
                self.setWaitsForWritable(true)
                return nil
            } else if errno != EINTR {
                let failure = RedisFailure.connectionError(SystemError("send").reason)
                self.close()
                return failure
            }
        }
        self.setWaitsForWritable(false)
        return nil
    }

    private func setWaitsForWritable(_ waits: Bool) {
        guard self.isConnected, self.waitsForWritable != waits, let registration = self.registration else { return }
        self.waitsForWritable = waits
        self.loop.modify(registration, for: waits ? [.readable, .writable] : .readable)
    }

    func handle(_ events: IOEvents) {
        if !self.isConnected {
            var code: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(self.fileDescriptor, SOL_SOCKET, SO_ERROR, &code, &length)
            guard code == 0 else {
                let failure = RedisFailure.connect(
                    SystemError("connect to \(self.serverDescription)", code: code).description
                )
                self.close()
                self.delegate?.transportFailed(failure)
                return
            }
            guard events.contains(.writable) else { return }
            self.isConnected = true
            self.setWaitsForWritable(false)
            self.delegate?.transportConnected()
        }
        guard !events.isDisjoint(with: [.readable, .hangUp, .error]) else { return }
        self.receive()
    }

    private func receive() {
        var budget = Limits.readBytesPerTurn
        while budget > 0, self.isConnected {
            let count = recv(self.fileDescriptor, self.receiveBuffer.baseAddress, self.receiveBuffer.count, 0)
            if count > 0 {
                budget -= count
                self.delegate?.transport(received: UnsafeRawBufferPointer(rebasing: self.receiveBuffer[..<count]))
                if count < self.receiveBuffer.count { return }
            } else if count < 0, errno == EAGAIN {
                return
            } else if count == 0 || errno != EINTR {
                let failure: RedisFailure =
                    count == 0 ? .closedByServer : .connectionError(SystemError("recv").reason)
                self.close()
                self.delegate?.transportFailed(failure)
                return
            }
        }
    }
}

/// A reference that can be filled in after the closure that holds it was made.
private final class Weak<Object: AnyObject> {
    weak var object: Object?
}
