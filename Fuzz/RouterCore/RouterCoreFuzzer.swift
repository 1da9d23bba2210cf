import Common
import FuzzSupport

@testable import Router

// A router with hostile listeners: frames of every kind in any order, true to the format or not. Whatever comes, what the router
// writes can be read, it comes to rest, and nothing is left when the listeners are gone. Run it with `make fuzz`.

@main struct RouterCoreFuzzer {
    static func main() { runFuzzer(fuzzRouterCore) }
}

private func fuzzRouterCore(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(start, min(count, 4096))
    var play = Play(options: input.byte())
    while !input.isAtEnd { play.step(&input) }
    play.end()
    return 0
}

/// A few listeners with a few handles, so that what one step does meets what others did.
private struct Play: ~Copyable {
    private static let listeners = 2
    private var core: RouterCore
    private var links: [Int?]
    private var now: Instant = Nanoseconds.perSecond
    private var stamp: UInt64 = 0
    private var frame = ByteBuffer()

    init(options: UInt8) {
        var configuration = Configuration()
        configuration.mqtt.session.maxExpirySeconds = 3600
        configuration.mqtt.session.version3ExpirySeconds = 3600
        configuration.mqtt.session.maxQueuedMessages = options & 1 == 0 ? 4 : 1000
        configuration.mqtt.session.maxSubscriptions = 8
        configuration.mqtt.session.maxSubscriptionBytes = 512
        configuration.mqtt.maxSessions = options & 2 == 0 ? 8 : 3
        configuration.mqtt.maxPacketSizeBytes = options & 4 == 0 ? 1 << 20 : 200
        configuration.mqtt.receiveMaximum = options & 8 == 0 ? UInt16.max : 3
        configuration.authorization.denyAction = options & 16 == 0 ? .ignore : .disconnect
        configuration.mqtt.retained.maxMessages = 8
        self.core = RouterCore(configuration: configuration, seed: 1)
        self.links = Array(repeating: nil, count: Self.listeners)
    }

    mutating func step(_ input: inout FuzzInput) {
        let choice = input.byte()
        let listener = Int(choice >> 7)
        let handle = UInt64(choice >> 5 & 3) << 32 | UInt64(choice >> 3 & 3)
        guard let link = self.links[listener] else { return self.connect(listener, input.byte()) }
        self.frame.clear()
        switch choice & 7 {
        case 0: self.open(handle, &input)
        case 1, 2: self.packet(handle, &input)
        case 3:
            let flags = input.byte()
            self.write(.sessionPackets, flags: flags, handle, input.text())
        case 4: self.write(.sessionClosed, handle, [input.byte() % 8])
        case 5: self.credit(handle, &input)
        case 6: return self.other(link, listener, &input)
        default:
            let kind = FrameKind.allCases[Int(input.byte()) % FrameKind.allCases.count]
            self.write(kind, flags: input.byte(), handle, input.text())
        }
        self.deliver(link, listener)
    }

    private mutating func connect(_ listener: Int, _ options: UInt8) {
        let hello = LinkHello(
            role: .listener,
            bootID: [UInt8](repeating: UInt8(listener), count: 16),
            name: [],
            sessionCreditBytes: options & 1 == 0 ? 1 << 18 : 40,
            linkCreditBytes: options & 2 == 0 ? UInt32.max : 100
        )
        self.links[listener] = self.core.linkUp(peer: hello, now: self.now)
    }

    private mutating func open(_ handle: UInt64, _ input: inout FuzzInput) {
        let options = input.byte()
        let version = [ProtocolVersion.v5_0, .v3_1_1, .v5_0, .v3_1][Int(options & 3)]
        var connect = ConnectPacket(
            version: version,
            cleanStart: options & 4 != 0,
            clientIdentifier: options & 0x18 == 0x18 ? [] : [UInt8(ascii: "a") + (options >> 3 & 3)]
        )
        if options & 0x20 != 0 {
            let willOptions = input.byte()
            var properties = Properties()
            if version == .v5_0, willOptions & 8 != 0 { properties.willDelayInterval = UInt32(willOptions >> 4) }
            connect.will = ConnectPacket.Will(
                qos: QoS(rawValue: willOptions & 3) ?? .exactlyOnce,
                retain: willOptions & 4 != 0,
                topic: [UInt8(ascii: "t")],
                payload: input.text(),
                properties: properties
            )
        }
        if version == .v5_0, options & 0x40 != 0 {
            let extra = input.byte()
            connect.properties.sessionExpiryInterval = extra & 1 == 0 ? UInt32.max : UInt32(extra)
            if extra & 2 != 0 { connect.properties.receiveMaximum = 1 + UInt16(extra >> 4) }
            if extra & 4 != 0 { connect.properties.maximumPacketSize = 20 + UInt32(extra >> 4) * 4 }
        }
        var packet = ByteBuffer()
        if options & 0x80 == 0 { connect.encode(into: &packet) } else { packet.write(input.text()) }
        self.stamp += options & 0x80 == 0 ? 1 : 0
        SessionOpen(
            connectStamp: self.stamp,
            listenerName: [],
            peerAddress: [],
            identity: nil,
            userName: nil,
            access: .allowEverything,
            connect: packet.array
        )
        .encode(into: &self.frame, handle: handle)
    }

    /// One packet with its length put right, and topics that others use too.
    private mutating func packet(_ handle: UInt64, _ input: inout FuzzInput) {
        let first = input.byte()
        var body = ByteBuffer()
        switch PacketType(rawValue: first >> 4) {
        case .publish where first & 1 == 0:
            let topics = ["t", "a/b", "$share/g/t", "$SYS/x", "a/+"]
            let topic = Array(topics[Int(input.byte()) % topics.count].utf8)
            body.writeBigEndian(UInt16(topic.count))
            body.write(topic)
            if first & 6 != 0 { body.writeBigEndian(UInt16(input.byte())) }
        case .subscribe, .unsubscribe:
            let filters = ["t", "#", "a/+", "+/b", "$share/g/t", "$share/g/#", "$share/h/+/b", "/"]
            let choice = input.byte()
            body.writeBigEndian(UInt16(1 + choice >> 4))
            if choice & 8 != 0 { body.write(UInt8(0)) }
            let filter = Array(filters[Int(choice & 7)].utf8)
            body.writeBigEndian(UInt16(filter.count))
            body.write(filter)
        case .puback, .pubrec, .pubrel, .pubcomp:
            body.writeBigEndian(UInt16(input.byte()))
        default: break
        }
        body.write(input.text())
        var packet = ByteBuffer()
        packet.write(first)
        packet.writeVariableByteInteger(body.readableBytes)
        packet.write(body.readable)
        self.write(.sessionPackets, handle, packet.array)
    }

    private mutating func credit(_ handle: UInt64, _ input: inout FuzzInput) {
        let link = input.word()
        let session = input.word()
        CreditFrame.encode(.deliveryCredit, into: &self.frame, linkBytes: link, sessions: [(handle, session)])
    }

    private mutating func other(_ link: Int, _ listener: Int, _ input: inout FuzzInput) {
        let choice = input.byte()
        switch choice & 3 {
        case 0:
            self.core.linkDown(link, now: self.now)
            self.links[listener] = nil
        case 1:
            self.now += UInt64(choice >> 2) * Nanoseconds.perSecond
            self.passTime()
        default:
            self.turn()
        }
    }

    private mutating func write(_ kind: FrameKind, flags: UInt8 = 0, _ handle: UInt64, _ body: [UInt8]) {
        self.frame.writeFrameHeader(kind, flags: flags, handle: handle, bodyBytes: body.count)
        self.frame.write(body)
    }

    private mutating func deliver(_ link: Int, _ listener: Int) {
        guard case .frame(let frame) = FrameReader.frame(in: self.frame.readable, at: 0) else { return }
        guard self.core.received(frame, on: link, now: self.now) != nil else { return }
        // As the service does it: the link is closed.
        self.core.linkDown(link, now: self.now)
        self.links[listener] = nil
    }

    private mutating func passTime() {
        var rounds = 0
        while let deadline = self.core.nextDeadline, deadline <= self.now {
            self.core.timePassed(now: self.now)
            rounds += 1
            precondition(rounds < 1000, "what is due never gets done")
        }
    }

    /// Ends turns until nothing is left to do, and reads what comes out.
    private mutating func turn() {
        var rounds = 0
        repeat {
            self.core.endTurn(now: self.now)
            for link in self.links {
                guard let link else { continue }
                var output = ByteBuffer()
                self.core.takeOutput(of: link, into: &output)
                Self.check(output)
            }
            rounds += 1
            precondition(rounds < 1000, "the router never comes to rest")
        } while self.core.hasWork
    }

    private static func check(_ output: borrowing ByteBuffer) {
        var offset = 0
        while offset < output.readableBytes {
            guard case .frame(let frame) = FrameReader.frame(in: output.readable, at: offset) else {
                preconditionFailure("the router wrote a broken frame")
            }
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            switch frame.kind {
            case .sessionDeliver: break
            case .sessionAccepted: precondition(SessionAccepted.decode(frame.body) != nil, "broken sessionAccepted")
            case .sessionRefused, .sessionClose: precondition(SessionEnd.decode(frame.body) != nil, "broken end")
            case .sessionMulticast: precondition(MulticastFrame(frame.body) != nil, "broken multicast")
            case .publishCredit: precondition(CreditFrame(frame.body) != nil, "broken credit")
            default: preconditionFailure("a frame that routers do not send")
            }
        }
    }

    /// The listeners go, and time passes: nothing may be left.
    mutating func end() {
        self.turn()
        for link in self.links {
            if let link { self.core.linkDown(link, now: self.now) }
        }
        self.links = Array(repeating: nil, count: Self.listeners)
        self.now += 100_000 * Nanoseconds.perSecond
        self.passTime()
        self.turn()
        precondition(self.core.connectedCount == 0, "connections are left")
        precondition(self.core.sessionCount == 0, "sessions are left")
        precondition(self.core.subscriptionCount == 0, "subscriptions are left")
        precondition(self.core.queuedBytesTotal == 0, "queued bytes are left")
    }
}
