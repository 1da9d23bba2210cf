import Common
import Glibc
import TLS

/// An MQTT client for tests, over TCP or TLS, driven by an event loop: many of them share one thread.
package final class TestClient: EventHandler {
    package enum State: Equatable {
        case connecting
        case handshaking
        case connected
        case ended(String)
    }

    package private(set) var state = State.connecting
    package let version: ProtocolVersion
    /// Packets that came and were not taken yet.
    package var received: [Packet] = []
    /// Called instead of keeping the packet, where it is set.
    package var onPacket: ((Packet) -> Void)?
    /// Keeps what comes as bytes instead of packets: for tests of exact bytes.
    package var keepsBytes = false
    package var receivedBytes: [UInt8] = []
    /// Stops reading while true.
    package var isReadingPaused = false { didSet { self.updateInterest() } }

    private let loop: EventLoop
    private let fileDescriptor: Int32
    private let tls: TLSConnection?
    private var registration: EventLoop.Registration?
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)

    /// Connects to a port of 127.0.0.1.
    /// - Parameter source: the last byte of the loopback address that it comes from.
    package init(
        loop: EventLoop,
        port: UInt16,
        version: ProtocolVersion,
        tls: TLSClientContext? = nil,
        source: UInt8 = 1
    ) throws {
        self.loop = loop
        self.version = version
        self.fileDescriptor = try makeSocket(AF_INET, blocks: false)
        self.tls = tls?.makeConnection(fileDescriptor: self.fileDescriptor)
        if source != 1 {
            let own = ListenAddress(bytes: [127, 0, 0, source], port: 0)
            let bound = own.withSocketAddress { Glibc.bind(self.fileDescriptor, $0, $1) }
            guard bound == 0 else { throw SystemError("bind to \(own)") }
        }
        let address = ListenAddress.loopback(port: port)
        let result = address.withSocketAddress { Glibc.connect(self.fileDescriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS else { throw SystemError("connect to \(address)") }
        var on: Int32 = 1
        setsockopt(self.fileDescriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        self.registration = try loop.register(self.fileDescriptor, for: [.readable, .writable], handler: self)
    }

    deinit {
        self.buffer.deallocate()
        if self.registration != nil {
            self.closeSocket()
        }
    }

    // MARK: Sending

    package func send(_ packet: Packet) {
        packet.encode(into: &self.output, version: self.version)
        self.flush()
    }

    package func send(bytes: [UInt8]) {
        self.output.write(bytes)
        self.flush()
    }

    package var pendingOutputBytes: Int { self.output.readableBytes }

    /// Closes without DISCONNECT.
    package func cut() {
        self.end("closed here")
    }

    // MARK: Waiting

    /// Turns the loop until the condition holds.
    package func wait(_ what: String, seconds: Double = 30, until condition: () -> Bool) throws {
        try self.loop.wait(
            "\(what); state \(self.state), received \(self.received)",
            seconds: seconds,
            until: condition
        )
    }

    /// Sends CONNECT and returns the CONNACK.
    package func connect(
        clientIdentifier: String,
        userName: String? = nil,
        password: String? = nil,
        cleanStart: Bool = true,
        keepAliveSeconds: UInt16 = 60,
        will: ConnectPacket.Will? = nil,
        properties: Properties = Properties()
    ) throws -> ConnackPacket {
        self.send(
            .connect(
                ConnectPacket(
                    version: self.version,
                    cleanStart: cleanStart,
                    keepAliveSeconds: keepAliveSeconds,
                    clientIdentifier: Array(clientIdentifier.utf8),
                    will: will,
                    userName: userName.map { Array($0.utf8) },
                    password: password.map { Array($0.utf8) },
                    properties: properties
                )
            )
        )
        guard case .connack(let connack) = try self.next("CONNACK") else {
            throw ProcessError(description: "the first packet is no CONNACK")
        }
        return connack
    }

    /// The next packet.
    package func next(_ what: String = "a packet", seconds: Double = 30) throws -> Packet {
        try self.wait(what, seconds: seconds) { !self.received.isEmpty || self.hasEnded }
        guard !self.received.isEmpty else { throw ProcessError(description: "waited for \(what), but \(self.state)") }
        return self.received.removeFirst()
    }

    /// The next packet, which has to be a message.
    package func nextMessage(_ what: String) throws -> PublishPacket {
        guard case .publish(let message) = try self.next(what) else {
            throw ProcessError(description: "waited for \(what), but another packet came")
        }
        return message
    }

    package var hasEnded: Bool {
        if case .ended = self.state { return true }
        return false
    }

    /// Subscribes and returns the SUBACK's codes.
    package func subscribe(_ filter: String, qos: QoS, packetIdentifier: UInt16 = 1) throws -> [UInt8] {
        let subscription = SubscribePacket.Subscription(filter: Array(filter.utf8), qos: qos)
        self.send(.subscribe(SubscribePacket(packetIdentifier: packetIdentifier, subscriptions: [subscription])))
        guard case .suback(let suback) = try self.next("SUBACK") else {
            throw ProcessError(description: "the answer to SUBSCRIBE is no SUBACK")
        }
        return suback.returnCodes
    }

    package func publish(
        _ topic: String,
        _ payload: [UInt8],
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        packetIdentifier: UInt16 = 0,
        properties: Properties = Properties()
    ) {
        self.send(
            .publish(
                PublishPacket(
                    qos: qos,
                    retain: retain,
                    topic: Array(topic.utf8),
                    packetIdentifier: packetIdentifier,
                    properties: properties,
                    payload: payload
                )
            )
        )
    }

    // MARK: Events

    package func handle(_ events: IOEvents) {
        switch self.state {
        case .connecting:
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(self.fileDescriptor, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else { return self.end(String(cString: strerror(error))) }
            guard !events.isDisjoint(with: [.writable]) else { return }
            self.state = self.tls == nil ? .connected : .handshaking
            self.handshake()
        case .handshaking:
            self.handshake()
        case .connected:
            self.flush()
            self.receive()
        case .ended:
            break
        }
    }

    private func handshake() {
        guard self.state == .handshaking, let tls = self.tls else { return self.flush() }
        switch tls.handshake() {
        case .done:
            self.state = .connected
            self.flush()
            self.receive()
        case .wantsRead: self.setInterest(.readable)
        case .wantsWrite: self.setInterest([.readable, .writable])
        case .failed(let failure): self.end("TLS: \(failure.kind.rawValue): \(failure.detail)")
        }
    }

    private func flush() {
        guard self.state == .connected else { return }
        while !self.output.isEmpty {
            let bytes = self.output.readable
            if let tls = self.tls {
                guard case .bytes(let count) = tls.write(bytes) else { break }
                self.output.consume(count)
            } else {
                let count = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { break }
                self.output.consume(count)
            }
        }
        self.updateInterest()
    }

    private func receive() {
        while self.state == .connected, !self.isReadingPaused {
            let count: Int
            if let tls = self.tls {
                switch tls.read(into: self.buffer) {
                case .bytes(let read): count = read
                case .wantsRead, .wantsWrite: return
                case .closed: return self.end("closed by the broker")
                case .failed(let failure): return self.end("TLS: \(failure.kind.rawValue): \(failure.detail)")
                }
            } else {
                count = recv(self.fileDescriptor, self.buffer.baseAddress, self.buffer.count, 0)
                if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
                if count <= 0 { return self.end("closed by the broker") }
            }
            if self.keepsBytes {
                self.receivedBytes += self.buffer[..<count]
            } else {
                self.input.write(UnsafeRawBufferPointer(rebasing: self.buffer[..<count]))
                self.decode()
            }
        }
    }

    private func decode() {
        while case .header(let header) = FixedHeader.decode(self.input.readable),
            header.packetBytes <= self.input.readableBytes
        {
            let bytes = UnsafeRawBufferPointer(rebasing: self.input.readable[..<header.packetBytes])
            guard let packet = try? Packet.decode(bytes, header: header, version: self.version) else {
                return self.end("the broker sent a packet that does not decode")
            }
            self.input.consume(header.packetBytes)
            if let onPacket = self.onPacket { onPacket(packet) } else { self.received.append(packet) }
        }
    }

    private func updateInterest() {
        guard self.state == .connected else { return }
        var interest: IOEvents = self.isReadingPaused ? [] : .readable
        if !self.output.isEmpty { interest.insert(.writable) }
        self.setInterest(interest)
    }

    private func setInterest(_ interest: IOEvents) {
        if let registration = self.registration { self.loop.modify(registration, for: interest) }
    }

    private func end(_ reason: String) {
        guard !self.hasEnded else { return }
        self.state = .ended(reason)
        self.closeSocket()
    }

    private func closeSocket() {
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        close(self.fileDescriptor)
    }
}

extension EventLoop {
    /// Turns until the condition holds.
    package func wait(_ what: @autoclosure () -> String, seconds: Double = 30, until condition: () -> Bool) throws {
        let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
        while !condition() {
            guard Clock.monotonic() < deadline else {
                throw ProcessError(description: "waited \(seconds) s for \(what())")
            }
            try self.turn(maximumWaitNanoseconds: 20 * Nanoseconds.perMillisecond)
        }
    }
}
