import Common
import Glibc
import TLS
import TestSupport

/// A connection that sends bytes of any kind, and only counts what comes back: the other side of it may be told anything.
final class RawConnection: EventHandler {
    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let tls: TLSConnection?
    private var registration: EventLoop.Registration?
    private var isHandshaking: Bool
    private var output = ByteBuffer()
    private static let bufferBytes = 64 << 10
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 16)
    private(set) var isConnected = false
    private(set) var hasEnded = false
    private(set) var receivedBytes = 0
    private(set) var sentBytes = 0
    /// Stops reading while false: TCP pushes back.
    var reads = true { didSet { self.updateInterest() } }

    /// - Parameters:
    ///   - tls: nil: plain TCP, or bytes that are no TLS.
    ///   - receiveBufferBytes: of the socket; nil: as the kernel has it.
    init(loop: EventLoop, port: UInt16, tls: TLSClientContext? = nil, receiveBufferBytes: Int32? = nil) throws {
        self.loop = loop
        self.fileDescriptor = try makeSocket(AF_INET, blocks: false)
        self.tls = tls?.makeConnection(fileDescriptor: self.fileDescriptor)
        self.isHandshaking = tls != nil
        if var bytes = receiveBufferBytes {
            setsockopt(self.fileDescriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        }
        let address = ListenAddress.loopback(port: port)
        let result = address.withSocketAddress { Glibc.connect(self.fileDescriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS else { throw SystemError("connect to \(address)") }
        self.registration = try loop.register(self.fileDescriptor, for: [.readable, .writable], handler: self)
    }

    deinit {
        self.close(abort: false)
        self.buffer.deallocate()
    }

    var pendingBytes: Int { self.output.readableBytes }

    func send(_ bytes: [UInt8]) {
        guard !self.hasEnded else { return }
        self.output.write(bytes)
        self.flush()
    }

    /// - Parameter abort: with a reset, so that unread data is thrown away.
    func close(abort: Bool) {
        guard let registration = self.registration else { return }
        self.registration = nil
        self.hasEnded = true
        self.loop.deregister(registration)
        if abort {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(self.fileDescriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        Glibc.close(self.fileDescriptor)
        self.output.clear()
        self.output.releaseIfEmpty()
    }

    func handle(_ events: IOEvents) {
        if !self.isConnected {
            guard events.contains(.writable), events.isDisjoint(with: [.error]) else {
                if !events.isDisjoint(with: [.error, .hangUp]) { self.close(abort: false) }
                return
            }
            self.isConnected = true
        }
        if self.isHandshaking, !self.continueHandshake() { return }
        self.flush()
        self.receive()
        if !self.reads, !events.isDisjoint(with: [.error, .hangUp]) { self.close(abort: false) }
    }

    private func continueHandshake() -> Bool {
        switch self.tls?.handshake() {
        case .done, nil:
            self.isHandshaking = false
            return true
        case .wantsRead: self.setInterest(.readable)
        case .wantsWrite: self.setInterest([.readable, .writable])
        case .failed: self.close(abort: false)
        }
        return false
    }

    private func flush() {
        guard self.isConnected, !self.isHandshaking else { return }
        sending: while !self.hasEnded, !self.output.isEmpty {
            let bytes = self.output.readable
            let count: Int
            if let tls = self.tls {
                switch tls.write(bytes) {
                case .bytes(let written): count = written
                case .wantsRead, .wantsWrite: break sending
                case .closed, .failed: return self.close(abort: false)
                }
            } else {
                count = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, SendFlags.noSignal)
                if count < 0, errno == EAGAIN { break }
                if count < 0 { return self.close(abort: false) }
            }
            self.output.consume(count)
            self.sentBytes += count
        }
        self.updateInterest()
    }

    private func receive() {
        while self.reads, !self.hasEnded, !self.isHandshaking {
            let count: Int
            if let tls = self.tls {
                switch tls.read(into: self.buffer) {
                case .bytes(let read): count = read
                case .wantsRead, .wantsWrite: return
                case .closed, .failed: return self.close(abort: false)
                }
            } else {
                count = recv(self.fileDescriptor, self.buffer.baseAddress, self.buffer.count, 0)
                if count < 0, errno == EAGAIN { return }
                if count <= 0 { return self.close(abort: false) }
            }
            self.receivedBytes += count
        }
    }

    private func updateInterest() {
        guard self.isConnected, !self.isHandshaking else { return }
        var interest: IOEvents = self.reads ? .readable : []
        if !self.output.isEmpty { interest.insert(.writable) }
        self.setInterest(interest)
    }

    private func setInterest(_ interest: IOEvents) {
        if let registration = self.registration { self.loop.modify(registration, for: interest) }
    }
}
