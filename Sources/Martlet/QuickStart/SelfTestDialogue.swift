import Common

/// What the quick start's self test says over MQTT: connect, subscribe, publish, receive. Packets in, bytes out.
package struct SelfTestDialogue {
    package enum Step: Equatable, Sendable {
        case wait
        case send([UInt8])
        /// The message came back; the bytes say good-bye.
        case done([UInt8])
        case failed(String)
    }

    private enum State {
        case connecting
        case subscribing
        case publishing(isAcknowledged: Bool, isReceived: Bool)
        case ended
    }

    private static let version = ProtocolVersion.v5_0
    private static let subscribeIdentifier: UInt16 = 1
    private static let publishIdentifier: UInt16 = 2

    private let topic: [UInt8]
    private let payload: [UInt8]
    private var state = State.connecting

    package init(topic: String, payload: [UInt8]) {
        self.topic = Array(topic.utf8)
        self.payload = payload
    }

    package func begin(clientIdentifier: String, userName: String, password: String) -> [UInt8] {
        Self.encode(
            .connect(
                ConnectPacket(
                    version: Self.version,
                    keepAliveSeconds: 30,
                    clientIdentifier: Array(clientIdentifier.utf8),
                    userName: Array(userName.utf8),
                    password: Array(password.utf8)
                )
            )
        )
    }

    package mutating func receive(_ packet: Packet) -> Step {
        switch (self.state, packet) {
        case (.connecting, .connack(let connack)):
            guard connack.returnCode == 0 else {
                return self.fail("the connection was refused: \(Self.describe(connack.returnCode))")
            }
            self.state = .subscribing
            let subscription = SubscribePacket.Subscription(filter: self.topic, qos: .atLeastOnce)
            let subscribe = SubscribePacket(packetIdentifier: Self.subscribeIdentifier, subscriptions: [subscription])
            return .send(Self.encode(.subscribe(subscribe)))
        case (.subscribing, .suback(let suback)):
            guard let code = suback.returnCodes.first, code < 0x80 else {
                return self.fail("the subscription was refused: \(Self.describe(suback.returnCodes.first ?? 0x80))")
            }
            self.state = .publishing(isAcknowledged: false, isReceived: false)
            let publish = PublishPacket(
                qos: .atLeastOnce,
                topic: self.topic,
                packetIdentifier: Self.publishIdentifier,
                payload: self.payload
            )
            return .send(Self.encode(.publish(publish)))
        case (.publishing(_, let isReceived), .puback(let puback)):
            guard !puback.reasonCode.isFailure else {
                return self.fail("the message was refused: \(Self.describe(puback.reasonCode.rawValue))")
            }
            return self.progress(isAcknowledged: true, isReceived: isReceived, reply: [])
        case (.publishing(let isAcknowledged, let isReceived), .publish(let publish)):
            let isOurs = publish.topic == self.topic && publish.payload == self.payload
            var reply: [UInt8] = []
            if publish.qos != .atMostOnce {
                reply = Self.encode(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
            }
            return self.progress(isAcknowledged: isAcknowledged, isReceived: isReceived || isOurs, reply: reply)
        case (.subscribing, .publish):
            // Retained by an earlier run.
            return .wait
        case (_, .disconnect(let disconnect)):
            return self.fail("the connection was ended: \(Self.describe(disconnect.reasonCode.rawValue))")
        case (.ended, _):
            return .wait
        default:
            return self.fail("\("\(packet.type)".uppercased()) was not expected")
        }
    }

    private mutating func progress(isAcknowledged: Bool, isReceived: Bool, reply: [UInt8]) -> Step {
        guard isAcknowledged, isReceived else {
            self.state = .publishing(isAcknowledged: isAcknowledged, isReceived: isReceived)
            return reply.isEmpty ? .wait : .send(reply)
        }
        self.state = .ended
        return .done(reply + Self.encode(.disconnect(DisconnectPacket())))
    }

    private mutating func fail(_ reason: String) -> Step {
        self.state = .ended
        return .failed(reason)
    }

    private static func encode(_ packet: Packet) -> [UInt8] {
        var buffer = ByteBuffer()
        packet.encode(into: &buffer, version: Self.version)
        return buffer.array
    }

    private static func describe(_ code: UInt8) -> String {
        let digits = String(code, radix: 16, uppercase: true)
        guard let reason = ReasonCode(rawValue: code) else { return "reason code 0x\(digits)" }
        return "\(reason) (0x\(digits))"
    }
}
