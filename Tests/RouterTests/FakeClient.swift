import Common
import TestSupport
import Testing

@testable import Listener
@testable import Router

/// One client of a `RouterHarness`: speaks MQTT through session frames.
final class FakeClient {
    private(set) var harness: RouterHarness
    private(set) var listener: RouterHarness.FakeListener
    let name: String
    let version: ProtocolVersion
    private(set) var handle: UInt64 = 0
    /// Packets that came, in order, and were not taken out.
    var received: [Packet] = []
    var isOpen = false
    var closeReason: ReasonCode?
    var keepAliveInForce: UInt16?
    /// What its listener remembers for the next router.
    private(set) var attach: AttachState?
    /// As its listener knows it.
    var isUnstored: Bool { self.attach?.unstoredBy != nil }
    func told(isUnstored: Bool) {
        if isUnstored { self.attach?.isUnstored(by: self.harness.bootID) } else { self.attach?.isStored() }
    }
    private(set) var lastOpen: SessionOpen?
    /// Of the session that is about to be accepted.
    var resumed: SessionResumed?
    var access = AccessRules.allowEverything
    /// The configured listener that the client comes through.
    var listenerName = "devices"
    var peerAddress = "192.0.2.1:1234"
    var commonName: String?
    /// Acknowledges as a client should.
    var acknowledges = true
    /// Returns credit for what comes.
    /// Of a packet of which it has a part, its listener says something else.
    var changesPartial: ((inout SessionAttach.Partial) -> Void)?
    var returnsCredit = true
    var heldCredit = 0
    /// Credit that the router returned for what this client published.
    var publishCredit = 0
    private var partial: [UInt8] = []
    private var nextIdentifier: UInt16 = 0

    init(_ harness: RouterHarness, _ listener: RouterHarness.FakeListener, _ name: String, _ version: ProtocolVersion) {
        self.harness = harness
        self.listener = listener
        self.name = name
        self.version = version
    }

    /// Off: what the router writes for its listener is not taken.
    var listenerIsThere: Bool {
        get { self.listener.isThere }
        set { self.listener.isThere = newValue }
    }

    // MARK: Another router

    func accepted(_ accepted: SessionAccepted) {
        self.keepAliveInForce = accepted.keepAliveSeconds
        guard accepted.sessionNumber != 0 else { return }
        self.attach = AttachState(
            sessionNumber: accepted.sessionNumber,
            clientIdentifier: [UInt8](accepted.clientIdentifier),
            version: self.version,
            takesAliases: true,
            connectStamp: self.lastOpen?.connectStamp ?? 0,
            keepsExchanges: accepted.keepsExchanges,
            canBeMadeAnew: accepted.canBeMadeAnew,
            routerBootID: self.harness.bootID
        )
        if let resumed = self.resumed { self.attach?.resumed(resumed) }
        self.resumed = nil
    }

    /// The listener's first frames about this client to a new router.
    func attach(to harness: RouterHarness, _ listener: RouterHarness.FakeListener) {
        self.harness = harness
        self.listener = listener
        guard let attach = self.attach, let open = self.lastOpen else { return }
        guard !self.isUnstored else {
            // Its listener has closed it.
            self.isOpen = false
            return
        }
        var frames = ByteBuffer()
        var told = attach.attach(open, outstandingBytes: self.heldCredit, unreportedBytes: 0, marks: listener.marks)
        if var partial = told.partial {
            self.changesPartial?(&partial)
            told.partial = partial
        }
        told.encode(into: &frames, handle: self.handle)
        _ = attach.writeCompleting(into: &frames, handle: self.handle, bootID: harness.bootID)
        _ = attach.writeUnanswered(into: &frames, handle: self.handle)
        harness.deliver(frames, from: listener)
    }

    // MARK: Receiving

    var isInsidePacket: Bool { !self.partial.isEmpty }

    /// - Returns: session credit to give back.
    func took(_ bytes: [UInt8], debits: Bool, continues: Bool, isStored: Bool = false) -> Int {
        bytes.withUnsafeBytes { self.attach?.passedDown($0, isStored: isStored) }
        return self.takes(bytes, debits: debits, continues: continues)
    }

    private func takes(_ bytes: [UInt8], debits: Bool, continues: Bool) -> Int {
        self.partial += bytes
        if !continues { self.splitPackets() }
        guard debits else { return 0 }
        if self.returnsCredit { return bytes.count }
        self.heldCredit += bytes.count
        return 0
    }

    /// QoS 2 messages that are not stored.
    func took(_ exchanges: inout ExchangeFrame) -> Int {
        var output = ByteBuffer()
        if let attach = self.attach {
            _ = attach.passedDown(&exchanges, marks: self.listener.marks, into: &output)
        } else {
            while let message = exchanges.next() { output.write(message.packet) }
        }
        return self.takes(output.array, debits: true, continues: false)
    }

    private func splitPackets() {
        var offset = 0
        self.partial.withUnsafeBytes { bytes in
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard case .header(let header) = FixedHeader.decode(rest, version: self.version),
                    header.packetBytes <= rest.count
                else {
                    Issue.record("the router sent a broken packet")
                    offset = bytes.count
                    return
                }
                do {
                    let packet = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
                    self.received.append(try Packet.decode(packet, header: header, version: self.version))
                } catch {
                    Issue.record("the router sent a broken \(header.type): \(error)")
                }
                offset += header.packetBytes
            }
        }
        self.partial = []
    }

    /// Gives back the credit that was held.
    func returnHeldCredit() {
        let bytes = self.heldCredit
        self.heldCredit = 0
        self.harness.returnCredit(self.listener, [(self.handle, UInt32(bytes))])
        self.harness.flush()
    }

    /// Answers PUBLISH, PUBREC and PUBREL that came, until nothing more comes.
    func acknowledgeAll() {
        while self.isOpen, self.answerOnce() { self.harness.flush() }
    }

    private var answered = 0

    private func answerOnce() -> Bool {
        var answers: [Packet] = []
        for packet in self.received[min(self.answered, self.received.count)...] {
            switch packet {
            case .publish(let publish) where publish.qos == .atLeastOnce:
                answers.append(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
            case .publish(let publish) where publish.qos == .exactlyOnce:
                answers.append(.pubrec(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
            case .pubrel(let pubrel):
                answers.append(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            case .pubrec(let pubrec) where !pubrec.reasonCode.isFailure:
                answers.append(.pubrel(AcknowledgementPacket(packetIdentifier: pubrec.packetIdentifier)))
            default:
                break
            }
        }
        self.answered = self.received.count
        for answer in answers { self.send(answer, flushes: false) }
        return !answers.isEmpty
    }

    /// All PUBLISH packets that came, in order; they are taken out.
    func takePublishes() -> [PublishPacket] {
        self.harness.flush()
        if self.acknowledges { self.acknowledgeAll() }
        var publishes: [PublishPacket] = []
        for packet in self.received {
            if case .publish(let publish) = packet { publishes.append(publish) }
        }
        self.takeAll()
        return publishes
    }

    func takePayloads() -> [String] {
        self.takePublishes().map { String(decoding: $0.payload, as: UTF8.self) }
    }

    @discardableResult
    func takeAll() -> [Packet] {
        defer {
            self.received = []
            self.answered = 0
        }
        return self.received
    }

    /// Identifiers of what it published, in the order in which that was acknowledged; everything that came is taken out.
    func takePubacks() -> [UInt16] {
        self.takeAll().compactMap { packet -> UInt16? in
            if case .puback(let ack) = packet { return ack.packetIdentifier }
            return nil
        }
    }

    // MARK: Sending

    func send(_ packets: Packet..., flushes: Bool = true) {
        var bytes: [UInt8] = []
        for packet in packets { bytes += packet.bytes(self.version) }
        self.remember(bytes)
        self.send(bytes: bytes, flushes: flushes)
    }

    private func remember(_ bytes: [UInt8]) {
        guard let attach = self.attach else { return }
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard case .header(let header) = FixedHeader.decode(rest, version: self.version) else { return }
                attach.passedUp(UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes]), header)
                offset += header.packetBytes
            }
        }
    }

    /// Its listener has heard of them, and no router yet.
    func rulesChanged(_ access: AccessRules) {
        self.access = access
        self.lastOpen?.access = access
    }

    func send(bytes: [UInt8], flushes: Bool = true, partBytes: Int = 1 << 20) {
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + partBytes)
            var frame = ByteBuffer()
            let flags = end < bytes.count ? FrameFlags.packetContinues : 0
            frame.writeFrameHeader(.sessionPackets, flags: flags, handle: self.handle, bodyBytes: end - start)
            frame.write(bytes[start..<end])
            self.harness.deliver(frame, from: self.listener)
            start = end
        }
        if flushes { self.harness.flush() }
    }

    /// - Returns: the CONNACK; nil when there was none.
    @discardableResult
    func connect(
        clean: Bool = true,
        expiry: UInt32? = nil,
        receiveMaximum: UInt16? = nil,
        will: ConnectPacket.Will? = nil,
        stamp: UInt64? = nil,
        _ configure: (inout ConnectPacket) -> Void = { _ in }
    ) -> ConnackPacket? {
        var connect = ConnectPacket(version: self.version, cleanStart: clean, clientIdentifier: Array(self.name.utf8))
        connect.will = will
        connect.properties.sessionExpiryInterval = expiry
        connect.properties.receiveMaximum = receiveMaximum
        configure(&connect)
        return self.open(Packet.connect(connect).bytes(self.version), stamp: stamp)
    }

    /// Connects, without the end of the turn.
    func prepare(clean: Bool, expiry: UInt32? = nil, will: ConnectPacket.Will? = nil) {
        var connect = ConnectPacket(version: self.version, cleanStart: clean, clientIdentifier: Array(self.name.utf8))
        connect.will = will
        connect.properties.sessionExpiryInterval = expiry
        self.sendOpen(Packet.connect(connect).bytes(self.version), stamp: nil)
    }

    func open(_ connect: [UInt8], stamp: UInt64? = nil) -> ConnackPacket? {
        self.sendOpen(connect, stamp: stamp)
        self.harness.flush()
        guard let first = self.received.firstIndex(where: { $0.type == .connack }) else { return nil }
        guard case .connack(let connack) = self.received.remove(at: first) else { return nil }
        return connack
    }

    private func sendOpen(_ connect: [UInt8], stamp: UInt64?) {
        self.handle = self.listener.takeHandle()
        self.listener.clients[self.handle] = self
        self.isOpen = true
        self.closeReason = nil
        self.partial = []
        self.attach = nil
        let open = SessionOpen(
            connectStamp: stamp ?? self.harness.nextStamp(),
            listenerName: Array(self.listenerName.utf8),
            peerAddress: Array(self.peerAddress.utf8),
            identity: self.commonName.map {
                CertificateIdentity(
                    commonName: Array($0.utf8),
                    subject: Array("CN=\($0)".utf8),
                    issuer: Array("CN=CA".utf8),
                    serialNumber: Array("01".utf8),
                    fingerprint: [UInt8](repeating: 0, count: 32),
                    notAfter: 0
                )
            },
            userName: nil,
            access: self.access,
            connect: connect
        )
        self.lastOpen = open
        var frame = ByteBuffer()
        open.encode(into: &frame, handle: self.handle, canBeMadeAnew: true)
        self.harness.deliver(frame, from: self.listener)
    }

    @discardableResult
    func subscribe(
        _ filter: String,
        _ qos: QoS = .exactlyOnce,
        identifier: UInt32? = nil,
        _ configure: (inout SubscribePacket.Subscription) -> Void = { _ in }
    ) -> UInt8? {
        var subscription = SubscribePacket.Subscription(filter: Array(filter.utf8), qos: qos)
        configure(&subscription)
        var packet = SubscribePacket(packetIdentifier: self.takeIdentifier(), subscriptions: [subscription])
        if let identifier { packet.properties.subscriptionIdentifiers = [identifier] }
        self.send(.subscribe(packet))
        guard let index = self.received.firstIndex(where: { $0.type == .suback }),
            case .suback(let suback) = self.received.remove(at: index)
        else { return nil }
        return suback.returnCodes.first
    }

    @discardableResult
    func unsubscribe(_ filter: String) -> UnsubackPacket? {
        self.send(
            .unsubscribe(UnsubscribePacket(packetIdentifier: self.takeIdentifier(), filters: [Array(filter.utf8)]))
        )
        guard let index = self.received.firstIndex(where: { $0.type == .unsuback }),
            case .unsuback(let unsuback) = self.received.remove(at: index)
        else { return nil }
        return unsuback
    }

    /// Publishes; with QoS 1 and 2 the first answer's reason code is returned, and QoS 2 is completed.
    @discardableResult
    func publish(
        _ topic: String,
        _ payload: String = "",
        _ qos: QoS = .atMostOnce,
        retain: Bool = false,
        _ configure: (inout PublishPacket) -> Void = { _ in }
    ) -> ReasonCode? {
        var packet = PublishPacket(qos: qos, retain: retain, topic: Array(topic.utf8), payload: Array(payload.utf8))
        if qos != .atMostOnce { packet.packetIdentifier = self.takeIdentifier() }
        configure(&packet)
        self.send(.publish(packet))
        for (index, answer) in self.received.enumerated() {
            switch answer {
            case .puback(let ack):
                self.received.remove(at: index)
                return ack.reasonCode
            case .pubrec(let ack):
                self.received.remove(at: index)
                if ack.reasonCode.isFailure { return ack.reasonCode }
                self.send(.pubrel(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
                self.received.removeAll { $0.type == .pubcomp }
                return ack.reasonCode
            default:
                continue
            }
        }
        return nil
    }

    /// The first packet of a QoS 2 exchange, with an identifier of the test's choice.
    func beginExchange(_ topic: String, _ payload: String, identifier: UInt16, dup: Bool = false) {
        var packet = PublishPacket(qos: .exactlyOnce, topic: Array(topic.utf8), payload: Array(payload.utf8))
        packet.packetIdentifier = identifier
        packet.dup = dup
        self.send(.publish(packet))
    }

    func disconnect(_ reason: ReasonCode = .success, expiry: UInt32? = nil) {
        var packet = DisconnectPacket(reasonCode: reason)
        packet.properties.sessionExpiryInterval = expiry
        self.send(.disconnect(packet))
    }

    /// The connection breaks.
    /// - Parameters:
    ///   - endsSession: its listener says that the device is revoked.
    ///   - secondsAgo: its listener could not tell any router.
    ///   - flushes: otherwise what was sent just before may still wait.
    func drop(
        _ cause: SessionCloseCause = .connectionLost,
        endsSession: Bool = false,
        secondsAgo: UInt64? = nil,
        flushes: Bool = true
    ) {
        guard self.isOpen || secondsAgo != nil else { return }
        self.isOpen = false
        var frame = ByteBuffer()
        let age = secondsAgo.map { $0 * Nanoseconds.perSecond }
        cause.encode(into: &frame, handle: self.handle, endsSession: endsSession, age: age)
        self.listener.give(back: self.handle)
        self.harness.deliver(frame, from: self.listener)
        if flushes { self.harness.flush() }
    }

    func takeIdentifier() -> UInt16 {
        self.nextIdentifier = self.nextIdentifier == UInt16.max ? 1 : self.nextIdentifier + 1
        return self.nextIdentifier
    }
}
