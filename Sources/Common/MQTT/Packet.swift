/// An MQTT control packet of any version (MQTT 5.0, section 2.1.2).
///
/// This is the comfortable form, one value per packet with everything copied out. The path of a PUBLISH through the broker
/// uses `PublishView` instead, which refers to the received bytes.
package enum Packet: Equatable, Sendable {
    case connect(ConnectPacket)
    case connack(ConnackPacket)
    case publish(PublishPacket)
    case puback(AcknowledgementPacket)
    case pubrec(AcknowledgementPacket)
    case pubrel(AcknowledgementPacket)
    case pubcomp(AcknowledgementPacket)
    case subscribe(SubscribePacket)
    case suback(SubackPacket)
    case unsubscribe(UnsubscribePacket)
    case unsuback(UnsubackPacket)
    case pingreq
    case pingresp
    case disconnect(DisconnectPacket)
    case auth(AuthPacket)
}

/// Section 3.1.
package struct ConnectPacket: Equatable, Sendable {
    package struct Will: Equatable, Sendable {
        package var qos: QoS
        package var retain: Bool
        package var topic: [UInt8]
        package var payload: [UInt8]
        package var properties: Properties

        package init(qos: QoS, retain: Bool, topic: [UInt8], payload: [UInt8], properties: Properties = Properties()) {
            self.qos = qos
            self.retain = retain
            self.topic = topic
            self.payload = payload
            self.properties = properties
        }
    }

    package var version: ProtocolVersion
    /// "Clean session" in 3.1 and 3.1.1.
    package var cleanStart: Bool
    package var keepAliveSeconds: UInt16
    package var clientIdentifier: [UInt8]
    package var will: Will?
    package var userName: [UInt8]?
    package var password: [UInt8]?
    package var properties: Properties
    /// Protocol level with 0x80 set: bridges of mosquitto and others say so that they are one, and want retain flags kept.
    package var isBridge: Bool

    package init(
        version: ProtocolVersion,
        cleanStart: Bool = true,
        keepAliveSeconds: UInt16 = 0,
        clientIdentifier: [UInt8] = [],
        will: Will? = nil,
        userName: [UInt8]? = nil,
        password: [UInt8]? = nil,
        properties: Properties = Properties(),
        isBridge: Bool = false
    ) {
        self.version = version
        self.cleanStart = cleanStart
        self.keepAliveSeconds = keepAliveSeconds
        self.clientIdentifier = clientIdentifier
        self.will = will
        self.userName = userName
        self.password = password
        self.properties = properties
        self.isBridge = isBridge
    }
}

/// Section 3.2. `returnCode` is the byte on the wire: a reason code in 5.0, a return code of table 3.1 in 3.1 and 3.1.1.
package struct ConnackPacket: Equatable, Sendable {
    package var sessionPresent: Bool
    package var returnCode: UInt8
    package var properties: Properties

    package init(sessionPresent: Bool, returnCode: UInt8, properties: Properties = Properties()) {
        self.sessionPresent = sessionPresent
        self.returnCode = returnCode
        self.properties = properties
    }
}

/// Section 3.3.
package struct PublishPacket: Equatable, Sendable {
    package var dup: Bool
    package var qos: QoS
    package var retain: Bool
    package var topic: [UInt8]
    /// 0 for QoS 0, where the wire has none.
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var payload: [UInt8]

    package init(
        dup: Bool = false,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        topic: [UInt8],
        packetIdentifier: UInt16 = 0,
        properties: Properties = Properties(),
        payload: [UInt8] = []
    ) {
        self.dup = dup
        self.qos = qos
        self.retain = retain
        self.topic = topic
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.payload = payload
    }
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP: sections 3.4 to 3.7.
package struct AcknowledgementPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(packetIdentifier: UInt16, reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.packetIdentifier = packetIdentifier
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

/// Section 3.8.
package struct SubscribePacket: Equatable, Sendable {
    package enum RetainHandling: UInt8, Sendable {
        case send = 0
        case sendIfNew = 1
        case doNotSend = 2
    }

    package struct Subscription: Equatable, Sendable {
        package var filter: [UInt8]
        package var qos: QoS
        package var noLocal: Bool
        package var retainAsPublished: Bool
        package var retainHandling: RetainHandling

        package init(
            filter: [UInt8],
            qos: QoS,
            noLocal: Bool = false,
            retainAsPublished: Bool = false,
            retainHandling: RetainHandling = .send
        ) {
            self.filter = filter
            self.qos = qos
            self.noLocal = noLocal
            self.retainAsPublished = retainAsPublished
            self.retainHandling = retainHandling
        }
    }

    package var packetIdentifier: UInt16
    package var properties: Properties
    package var subscriptions: [Subscription]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), subscriptions: [Subscription]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.subscriptions = subscriptions
    }
}

/// Section 3.9. `returnCodes` are bytes on the wire: in 3.1.1 the granted QoS or 0x80.
package struct SubackPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var returnCodes: [UInt8]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), returnCodes: [UInt8]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.returnCodes = returnCodes
    }
}

/// Section 3.10.
package struct UnsubscribePacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var filters: [[UInt8]]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), filters: [[UInt8]]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.filters = filters
    }
}

/// Section 3.11. `reasonCodes` is empty in 3.1 and 3.1.1.
package struct UnsubackPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var reasonCodes: [ReasonCode]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), reasonCodes: [ReasonCode] = []) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.reasonCodes = reasonCodes
    }
}

/// Section 3.14.
package struct DisconnectPacket: Equatable, Sendable {
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

/// Section 3.15; MQTT 5.0 only.
package struct AuthPacket: Equatable, Sendable {
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.reasonCode = reasonCode
        self.properties = properties
    }
}
