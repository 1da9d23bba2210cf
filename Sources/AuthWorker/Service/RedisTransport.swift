import CLinux
import Common
import Glibc
import TLS

protocol RedisTransportDelegate: AnyObject {
    func transportConnected()
    /// The bytes are valid until the call returns.
    func transport(received bytes: UnsafeRawBufferPointer)
    /// The connection could not be made or broke; it is closed.
    func transportFailed(_ failure: RedisFailure)
}

/// The socket below `RedisClient` and its like: TCP, with TLS or without, or Unix; never waiting.
final class RedisTransport: EventHandler {
    private let loop: EventLoop
    /// Where the next connection goes; nil: it is not known.
    var server: RedisURL.Server?
    private let tls: RedisTLS?
    /// Of the connection that is being made.
    private var context: TLSClientContext?
    private var session: TLSConnection?
    private var isHandshaking = false
    /// The TLS connection must write before it can go on.
    private var tlsWantsWrite = false
    private weak var delegate: (any RedisTransportDelegate)?
    private let resolver: NameResolver
    private var waker: Waker?
    /// Of the last look-up that worked: still tried when name servers are out of reach.
    private var addresses: [SocketAddress] = []
    private var nextAddress = 0
    /// Whose addresses they are.
    private var resolvedServer: RedisURL.Server?
    private var waitsForName = false
    private var fileDescriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private var isConnected = false
    private var waitsForWritable = false
    private let receiveBuffer: UnsafeMutableRawBufferPointer

    init(
        loop: EventLoop,
        server: RedisURL.Server?,
        tls: RedisTLS? = nil,
        delegate: any RedisTransportDelegate
    ) throws(SystemError) {
        self.loop = loop
        self.server = server
        self.tls = tls
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
        // Before anything else: files that cannot be used are the reason, whether or not the server is there.
        do throws(TLSError) {
            self.context = try self.tls?.current()
        } catch {
            self.delegate?.transportFailed(.connect("TLS to \(self.serverDescription) cannot begin: \(error)"))
            return
        }
        switch self.server {
        case nil:
            self.delegate?.transportFailed(.connect("which server is the master is not known yet"))
        case .unixSocket(let path):
            do throws(SystemError) {
                try self.use(UnixSocket.connect(path: path), connected: true)
            } catch {
                self.delegate?.transportFailed(.connect(error.description))
            }
        case .tcp(let host, let port):
            if self.resolvedServer != self.server {
                self.addresses = []
                self.resolvedServer = self.server
            }
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
        // Of another server that is not wanted any more.
        guard self.resolver.server == self.server else {
            if waited, self.registration == nil { self.connect() }
            return
        }
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
        if connected { self.established() }
    }

    /// The socket is connected: with TLS the handshake comes first.
    private func established() {
        guard let tls = self.context, case .tcp(let host, _) = self.server else {
            self.delegate?.transportConnected()
            return
        }
        self.session = tls.makeConnection(
            fileDescriptor: self.fileDescriptor,
            serverName: tls.hasServerName ? nil : host
        )
        guard self.session != nil else { return self.fail(.connect("TLS to \(host) cannot begin")) }
        self.isHandshaking = true
        self.continueHandshake()
    }

    private func continueHandshake() {
        guard let session = self.session else { return }
        switch session.handshake() {
        case .done:
            self.isHandshaking = false
            self.tlsWantsWrite = false
            self.updateInterest(hasOutput: false)
            self.delegate?.transportConnected()
        case .wantsRead:
            self.tlsWantsWrite = false
            self.updateInterest(hasOutput: false)
        case .wantsWrite:
            self.tlsWantsWrite = true
            self.updateInterest(hasOutput: false)
        case .failed(let failure):
            self.fail(.connect("TLS to \(self.serverDescription): \(failure)"))
        }
    }

    private func fail(_ failure: RedisFailure) {
        self.close()
        self.delegate?.transportFailed(failure)
    }

    func close() {
        self.waitsForName = false
        guard let registration = self.registration else { return }
        self.session?.shutdown()
        self.loop.deregister(registration)
        self.registration = nil
        Glibc.close(self.fileDescriptor)
        self.fileDescriptor = -1
        self.isConnected = false
        self.isHandshaking = false
        self.tlsWantsWrite = false
        self.session = nil
    }

    /// Closes for good.
    func invalidate() {
        self.close()
        // A look-up that is under way still holds the handle: the descriptor stays open for it until the process ends.
        self.waker = nil
    }

    var serverDescription: String { self.server?.description ?? "an unknown server" }

    // MARK: Bytes

    /// Sends as much as the socket takes; the rest goes when it is writable. Returns why the connection broke, if it did; the
    /// delegate is not told.
    func send(_ output: inout ByteBuffer) -> RedisFailure? {
        guard self.isConnected, !self.isHandshaking else { return nil }
        self.tlsWantsWrite = false
        while !output.isEmpty {
            switch self.write(output.readable) {
            case .bytes(let count):
                output.consume(count)
            case .wantsRead:
                self.updateInterest(hasOutput: false)
                return nil
            case .wantsWrite:
                self.updateInterest(hasOutput: true)
                return nil
            case .closed:
                self.close()
                return .closedByServer
            case .failed(let reason):
                self.close()
                return .connectionError(reason)
            }
        }
        self.updateInterest(hasOutput: false)
        return nil
    }

    private enum Transfer {
        case bytes(Int)
        case wantsRead
        case wantsWrite
        case closed
        case failed(String)
    }

    private func write(_ bytes: UnsafeRawBufferPointer) -> Transfer {
        if let session = self.session { return Self.transfer(session.write(bytes)) }
        while true {
            let sent = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if sent > 0 { return .bytes(sent) }
            if errno == EAGAIN { return .wantsWrite }
            if errno != EINTR { return .failed(SystemError("send").reason) }
        }
    }

    private func read() -> Transfer {
        if let session = self.session { return Self.transfer(session.read(into: self.receiveBuffer)) }
        while true {
            let count = recv(self.fileDescriptor, self.receiveBuffer.baseAddress, self.receiveBuffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .closed }
            if errno == EAGAIN { return .wantsRead }
            if errno != EINTR { return .failed(SystemError("recv").reason) }
        }
    }

    private static func transfer(_ result: TLSConnection.IOResult) -> Transfer {
        switch result {
        case .bytes(let count): .bytes(count)
        case .wantsRead: .wantsRead
        case .wantsWrite: .wantsWrite
        case .closed: .closed
        case .failed(let failure): .failed("\(failure)")
        }
    }

    private func updateInterest(hasOutput: Bool) {
        let waits = hasOutput || self.tlsWantsWrite
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
                return self.fail(.connect(SystemError("connect to \(self.serverDescription)", code: code).description))
            }
            guard events.contains(.writable) else { return }
            self.isConnected = true
            self.updateInterest(hasOutput: false)
            return self.established()
        }
        if self.isHandshaking { return self.continueHandshake() }
        guard !events.isDisjoint(with: [.readable, .hangUp, .error]) else { return }
        self.receive()
    }

    /// Reads all that has come, though nobody has said that something has.
    func receiveAll() {
        guard self.isConnected, !self.isHandshaking else { return }
        self.receive(isAll: true)
    }

    private func receive(isAll: Bool = false) {
        var budget = isAll ? AuthLimits.changesBytesMax : Limits.readBytesPerTurn
        while self.isConnected {
            switch self.read() {
            case .bytes(let count):
                budget -= count
                self.delegate?.transport(received: UnsafeRawBufferPointer(rebasing: self.receiveBuffer[..<count]))
                // What OpenSSL holds is not reported by epoll, so it is read in any case.
                let mayBeMore = self.session?.hasPending ?? (count == self.receiveBuffer.count && budget > 0)
                if !mayBeMore, !isAll || budget <= 0 { return }
            case .wantsRead:
                return
            case .wantsWrite:
                self.tlsWantsWrite = true
                return self.updateInterest(hasOutput: false)
            case .closed:
                return self.fail(.closedByServer)
            case .failed(let reason):
                return self.fail(.connectionError(reason))
            }
        }
    }
}

/// A reference that can be filled in after the closure that holds it was made.
private final class Weak<Object: AnyObject> {
    weak var object: Object?
}
