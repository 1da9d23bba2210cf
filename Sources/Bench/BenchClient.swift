import Common
import Glibc
import TLS

/// What a scenario does with a client's packets. Called in the middle of reading.
protocol BenchClientDelegate: AnyObject {
    /// CONNACK came, with success.
    func opened(_ client: BenchClient, _ connack: ConnackPacket)
    func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer)
    /// PUBACK, PUBREC or PUBCOMP for something that this client published.
    func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8)
    func subscribed(_ client: BenchClient, _ suback: SubackPacket)
    /// Not called for `close`.
    func lost(_ client: BenchClient, _ reason: String)
}

/// One MQTT client of the load generator. It answers what a receiver must answer; everything else is the scenario's.
final class BenchClient: EventHandler {
    enum State {
        case idle
        case connecting
        case handshaking
        case awaitingConnack
        case open
    }

    let number: Int
    let version: ProtocolVersion
    private(set) var state = State.idle
    private(set) var startedAt: Instant = 0
    private(set) var wasResumed = false
    /// When `lost` is called: CONNACK had come.
    private(set) var wasOpen = false
    weak var delegate: (any BenchClientDelegate)?
    /// Written by the scenario; sent at the end of the turn.
    var output = ByteBuffer()
    private unowned let fleet: BenchFleet
    private var fileDescriptor: Int32 = -1
    private var tls: TLSConnection?
    private var registration: EventLoop.Registration?
    private var interest: IOEvents = []
    private var input = ByteBuffer()
    private var session: TLSSession?
    private var isDirty = false
    /// What CONNECT says, or the broker in its place.
    private var keepAliveSeconds: UInt16 = 0
    private var pinging: EventLoop.Timer?

    init(fleet: BenchFleet, number: Int) {
        self.fleet = fleet
        self.number = number
        self.version = fleet.options.version
    }

    deinit {
        if self.fileDescriptor >= 0 { Glibc.close(self.fileDescriptor) }
    }

    /// - Parameter connect: what is sent when the connection is there.
    func start(_ connect: ConnectPacket) throws {
        self.startedAt = Clock.monotonic()
        self.wasOpen = false
        self.output.clear()
        self.input.clear()
        connect.encode(into: &self.output)
        self.keepAliveSeconds = connect.keepAliveSeconds
        let address = self.fleet.address
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        self.fileDescriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, type, 0)
        guard self.fileDescriptor >= 0 else { throw SystemError("socket") }
        var on: Int32 = 1
        setsockopt(self.fileDescriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        let result = address.withSocketAddress { Glibc.connect(self.fileDescriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS else { return self.end("connect: \(SystemError("connect").reason)") }
        self.state = .connecting
        self.interest = [.readable, .writable]
        self.registration = try self.fleet.loop.register(self.fileDescriptor, for: self.interest, handler: self)
    }

    /// Without a word when `isReset`: the kernel sends RST.
    ///
    /// - Parameter endsSession: also a session that would outlive the connection, which 5.0 can say.
    func close(isReset: Bool = false, endsSession: Bool = false) {
        guard self.state != .idle else { return }
        if let tls = self.tls, self.fleet.options.resumes {
            self.session = tls.session ?? self.session
            if isReset { tls.keepSessionWhenCut() }
        }
        if isReset {
            var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
            setsockopt(self.fileDescriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        } else if self.state == .open {
            var disconnect = DisconnectPacket(reasonCode: .success)
            if endsSession { disconnect.properties.sessionExpiryInterval = 0 }
            disconnect.encode(into: &self.output, version: self.version)
            self.flush()
            self.tls?.shutdown()
        }
        self.closeSocket()
    }

    private func closeSocket() {
        if let pinging = self.pinging { self.fleet.loop.cancel(pinging) }
        self.pinging = nil
        if let registration = self.registration { self.fleet.loop.deregister(registration) }
        self.registration = nil
        self.tls = nil
        if self.fileDescriptor >= 0 { Glibc.close(self.fileDescriptor) }
        self.fileDescriptor = -1
        self.state = .idle
    }

    private func end(_ reason: String) {
        self.wasOpen = self.state == .open
        self.closeSocket()
        self.delegate?.lost(self, reason)
    }

    /// PINGREQ twice within the keep alive, whatever else is sent.
    private func keepAlive() {
        guard self.keepAliveSeconds > 0 else { return }
        let pause = UInt64(self.keepAliveSeconds) * Nanoseconds.perSecond / 2
        self.pinging = self.fleet.loop.schedule(afterNanoseconds: pause) { [weak self] in
            guard let self, self.state == .open else { return }
            self.output.write(PacketType.pingreq.rawValue << 4)
            self.output.write(0 as UInt8)
            self.markDirty()
            self.keepAlive()
        }
    }

    // MARK: Writing

    /// What is in `output` is sent at the end of the turn.
    func markDirty() {
        guard !self.isDirty else { return }
        self.isDirty = true
        self.fleet.dirty.append(self)
    }

    func flush() {
        self.isDirty = false
        guard self.state == .open || self.state == .awaitingConnack else { return }
        while !self.output.isEmpty {
            switch self.write() {
            case .bytes(let count): self.output.consume(count)
            case .wantsRead, .wantsWrite: return self.setInterest([.readable, .writable])
            case .closed: return self.end("closed by the broker")
            case .failed(let failure): return self.end(failure.detail)
            }
        }
        self.setInterest(.readable)
    }

    private func write() -> TLSConnection.IOResult {
        if let tls = self.tls { return tls.write(self.output.readable) }
        let bytes = self.output.readable
        let count = Glibc.send(self.fileDescriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if count > 0 { return .bytes(count) }
        return errno == EAGAIN || errno == EINTR ? .wantsWrite : .closed
    }

    private func setInterest(_ interest: IOEvents) {
        guard let registration = self.registration, interest != self.interest else { return }
        self.interest = interest
        self.fleet.loop.modify(registration, for: interest)
    }

    // MARK: Reading

    func handle(_ events: IOEvents) {
        switch self.state {
        case .idle: break
        case .connecting: self.connected()
        case .handshaking: self.handshake()
        case .awaitingConnack, .open:
            if events.contains(.writable) { self.markDirty() }
            if !events.isDisjoint(with: [.readable, .error, .hangUp]) { self.receive() }
        }
    }

    private func connected() {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(self.fileDescriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0 else { return self.end("connect: \(String(cString: strerror(code)))") }
        guard self.fleet.options.usesTLS else {
            self.state = .awaitingConnack
            return self.markDirty()
        }
        do {
            let context = try self.fleet.tlsContext(self.number)
            self.tls = context.makeConnection(
                fileDescriptor: self.fileDescriptor,
                serverName: self.fleet.options.verifiesServer ? self.fleet.options.host : nil
            )
        } catch {
            return self.end("\(error)")
        }
        if let session = self.session { self.tls?.resume(session) }
        self.state = .handshaking
        self.handshake()
    }

    private func handshake() {
        guard let tls = self.tls else { return self.end("no memory for TLS") }
        switch tls.handshake() {
        case .wantsRead: self.setInterest(.readable)
        case .wantsWrite: self.setInterest([.readable, .writable])
        case .failed(let failure): self.end(failure.detail)
        case .done:
            self.wasResumed = tls.isResumed
            self.state = .awaitingConnack
            self.flush()
        }
    }

    private func receive() {
        let space = self.fleet.receiveBuffer
        while self.state != .idle {
            let result: TLSConnection.IOResult
            if let tls = self.tls {
                result = tls.read(into: space)
            } else {
                let count = recv(self.fileDescriptor, space.baseAddress, space.count, 0)
                result =
                    count > 0 ? .bytes(count) : count < 0 && (errno == EAGAIN || errno == EINTR) ? .wantsRead : .closed
            }
            switch result {
            case .bytes(let count):
                self.take(UnsafeRawBufferPointer(rebasing: space[..<count]))
                if count < space.count, !(self.tls?.hasPending ?? false) { return }
            case .wantsRead: return
            case .wantsWrite: return self.setInterest([.readable, .writable])
            case .closed: return self.end("closed by the broker")
            case .failed(let failure): return self.end(failure.detail)
            }
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        if self.input.isEmpty {
            let consumed = self.interpret(bytes)
            if self.state != .idle, consumed < bytes.count {
                self.input.write(UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
            }
        } else {
            self.input.write(bytes)
            let consumed = self.interpret(self.input.readable)
            if self.state != .idle { self.input.consume(consumed) }
        }
    }

    private func interpret(_ bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        while self.state != .idle {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            switch FixedHeader.decode(rest, version: self.version) {
            case .needMore: return offset
            case .malformed(let error):
                self.end("a broken packet came: \(error)")
                return bytes.count
            case .header(let header):
                guard rest.count >= header.packetBytes else { return offset }
                let packet = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
                offset += header.packetBytes
                do throws(DecodeError) {
                    try self.interpret(packet, header)
                } catch {
                    self.end("a broken packet came: \(error)")
                    return bytes.count
                }
            }
        }
        return bytes.count
    }

    private func interpret(_ packet: UnsafeRawBufferPointer, _ header: FixedHeader) throws(DecodeError) {
        switch header.type {
        case .publish:
            let publish = try PublishView.decode(packet, header: header, version: self.version)
            self.delegate?.received(self, publish, in: packet)
            switch publish.qos {
            case .atMostOnce: break
            case .atLeastOnce: self.acknowledge(0x40, publish.packetIdentifier)
            case .exactlyOnce: self.acknowledge(0x50, publish.packetIdentifier)
            }
        case .puback, .pubrec, .pubrel, .pubcomp:
            guard header.bodyBytes >= 2 else {
                throw DecodeError(.malformedPacket, "an acknowledgement without identifier")
            }
            let start = header.headerBytes
            let identifier = UInt16(packet[start]) << 8 | UInt16(packet[start + 1])
            if header.type == .pubrel { return self.acknowledge(0x70, identifier) }
            let reason = header.bodyBytes > 2 ? packet[start + 2] : 0
            if header.type == .pubrec, reason < 0x80 { self.acknowledge(0x62, identifier) }
            self.delegate?.acknowledged(self, header.type, identifier: identifier, reason: reason)
        case .connack:
            if let refusal = Self.refusal(packet, header, self.version) { return self.end(refusal) }
            let connack = try ConnackPacket.decode(packet, header: header, version: self.version)
            self.state = .open
            self.keepAliveSeconds = connack.properties.serverKeepAlive ?? self.keepAliveSeconds
            self.keepAlive()
            self.delegate?.opened(self, connack)
        case .suback:
            self.delegate?.subscribed(self, try SubackPacket.decode(packet, header: header, version: self.version))
        case .disconnect:
            let disconnect = try DisconnectPacket.decode(packet, header: header, version: self.version)
            self.end("DISCONNECT 0x\(String(disconnect.reasonCode.rawValue, radix: 16))")
        case .pingresp, .unsuback: break
        case .connect, .subscribe, .unsubscribe, .pingreq, .auth:
            self.end("the broker sent a packet that only clients send")
        }
    }

    /// What a CONNACK says that refuses; nil: it does not.
    private static func refusal(
        _ packet: UnsafeRawBufferPointer,
        _ header: FixedHeader,
        _ version: ProtocolVersion
    ) -> String? {
        guard header.bodyBytes >= 2, case let code = packet[header.headerBytes + 1], code != 0 else { return nil }
        // Who does not know MQTT 5 answers in the form of 3.1.1, without properties.
        let isOld = version != .v5_0 || (header.bodyBytes == 2 && code < 0x80)
        let reason =
            isOld ? ReasonCode(version3ConnackReturnCode: code) : code < 0x80 ? nil : ReasonCode(rawValue: code)
        let name = reason.map { " (\($0))" } ?? ""
        let other = version == .v5_0 ? "3.1.1" : "5"
        let advice = reason == .unsupportedProtocolVersion ? ": try --mqtt \(other)" : ""
        return "CONNACK 0x\(String(code, radix: 16))\(name)\(advice)"
    }

    private func acknowledge(_ firstByte: UInt8, _ identifier: UInt16) {
        self.output.write(firstByte)
        self.output.write(2 as UInt8)
        self.output.writeBigEndian(identifier)
        self.markDirty()
    }
}
