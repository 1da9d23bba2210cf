import Common

/// Random packets that obey the standard: what the encoder writes of them, the decoder must read as the same.
package struct PacketGenerator {
    package var random: SeededRandom

    package init(seed: UInt64) {
        self.random = SeededRandom(seed: seed)
    }

    /// A packet of any type that exists in this version.
    package mutating func packet(_ version: ProtocolVersion) -> Packet {
        let types = PacketType.allCases.filter { $0 != .auth || version == .v5_0 }
        return self.packet(types.randomElement(using: &self.random) ?? .pingreq, version)
    }

    package mutating func packet(_ type: PacketType, _ version: ProtocolVersion) -> Packet {
        switch type {
        case .connect: return .connect(self.connect(version))
        case .connack: return .connack(self.connack(version))
        case .publish: return .publish(self.publish(version))
        case .puback: return .puback(self.acknowledgement(type, version))
        case .pubrec: return .pubrec(self.acknowledgement(type, version))
        case .pubrel: return .pubrel(self.acknowledgement(type, version))
        case .pubcomp: return .pubcomp(self.acknowledgement(type, version))
        case .subscribe: return .subscribe(self.subscribe(version))
        case .suback:
            let codes = version == .v5_0 ? Self.codes(type).map(\.rawValue) : [0, 1, 2, 0x80]
            return .suback(
                SubackPacket(
                    packetIdentifier: self.identifier(),
                    properties: self.properties([.reasonString, .userProperty], version),
                    returnCodes: self.list { $0.element(codes) }
                )
            )
        case .unsubscribe:
            return .unsubscribe(
                UnsubscribePacket(
                    packetIdentifier: self.identifier(),
                    properties: self.properties([.userProperty], version),
                    filters: self.list { $0.filter() }
                )
            )
        case .unsuback:
            return .unsuback(
                UnsubackPacket(
                    packetIdentifier: self.identifier(),
                    properties: self.properties([.reasonString, .userProperty], version),
                    reasonCodes: version == .v5_0 ? self.list { $0.element(Self.codes(type)) } : []
                )
            )
        case .pingreq: return .pingreq
        case .pingresp: return .pingresp
        case .disconnect:
            guard version == .v5_0 else { return .disconnect(DisconnectPacket()) }
            return .disconnect(
                DisconnectPacket(
                    reasonCode: self.element(Self.codes(type)),
                    properties: self.properties(
                        [.sessionExpiryInterval, .reasonString, .userProperty, .serverReference],
                        version
                    )
                )
            )
        case .auth: return .auth(self.auth())
        }
    }

    package mutating func connect(_ version: ProtocolVersion) -> ConnectPacket {
        var packet = ConnectPacket(version: version)
        packet.cleanStart = Bool.random(using: &self.random)
        packet.keepAliveSeconds = UInt16.random(in: 0...UInt16.max, using: &self.random)
        packet.isBridge = version != .v5_0 && self.random.oneIn(4)
        packet.clientIdentifier = self.text()
        let needsIdentifier = version == .v3_1 || (version == .v3_1_1 && !packet.cleanStart)
        if needsIdentifier, packet.clientIdentifier.isEmpty { packet.clientIdentifier = Array("id".utf8) }
        if Bool.random(using: &self.random) {
            packet.will = ConnectPacket.Will(
                qos: self.element(QoS.allCases),
                retain: Bool.random(using: &self.random),
                topic: self.topic(),
                payload: self.blob(),
                properties: self.properties(
                    [
                        .willDelayInterval, .payloadFormatIndicator, .messageExpiryInterval, .contentType,
                        .responseTopic, .correlationData, .userProperty,
                    ],
                    version
                )
            )
        }
        if Bool.random(using: &self.random) { packet.userName = self.text() }
        if packet.userName != nil || version == .v5_0, Bool.random(using: &self.random) {
            packet.password = self.blob()
        }
        packet.properties = self.properties(
            [
                .sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum,
                .requestResponseInformation, .requestProblemInformation, .userProperty, .authenticationMethod,
                .authenticationData,
            ],
            version
        )
        if packet.properties.authenticationMethod == nil { packet.properties.authenticationData = nil }
        return packet
    }

    package mutating func publish(_ version: ProtocolVersion) -> PublishPacket {
        var packet = PublishPacket(topic: self.topic())
        packet.qos = self.element(QoS.allCases)
        packet.dup = packet.qos != .atMostOnce && Bool.random(using: &self.random)
        packet.retain = Bool.random(using: &self.random)
        if packet.qos != .atMostOnce { packet.packetIdentifier = self.identifier() }
        packet.properties = self.properties(
            [
                .payloadFormatIndicator, .messageExpiryInterval, .topicAlias, .responseTopic, .correlationData,
                .userProperty, .subscriptionIdentifier, .contentType,
            ],
            version
        )
        if packet.properties.topicAlias != nil, self.random.oneIn(3) { packet.topic = [] }
        packet.payload = self.blob()
        return packet
    }

    package mutating func topic() -> [UInt8] {
        let topics = ["a", "/", "devices/346a004d/state", "$SYS/x", "Grüße/世界", "a//b", "level/🐦/end"]
        return Array(self.element(topics).utf8)
    }

    package mutating func filter() -> [UInt8] {
        let filters = ["a", "#", "+", "devices/+/state", "a/#", "$share/group/a/+", "$SYS/#", "Grüße/+", "+/+/#"]
        return Array(self.element(filters).utf8)
    }

    private mutating func connack(_ version: ProtocolVersion) -> ConnackPacket {
        let codes = version == .v5_0 ? Self.codes(.connack).map(\.rawValue) : [0, 1, 2, 3, 4, 5]
        var packet = ConnackPacket(sessionPresent: false, returnCode: self.element(codes))
        packet.sessionPresent = version != .v3_1 && packet.returnCode == 0 && Bool.random(using: &self.random)
        let allowed = PropertyIdentifier.allCases.filter {
            switch $0 {
            case .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData,
                .subscriptionIdentifier, .requestProblemInformation, .requestResponseInformation, .willDelayInterval,
                .topicAlias:
                false
            default: true
            }
        }
        packet.properties = self.properties(allowed, version)
        return packet
    }

    private mutating func acknowledgement(_ type: PacketType, _ version: ProtocolVersion) -> AcknowledgementPacket {
        guard version == .v5_0 else { return AcknowledgementPacket(packetIdentifier: self.identifier()) }
        return AcknowledgementPacket(
            packetIdentifier: self.identifier(),
            reasonCode: self.element(Self.codes(type)),
            properties: self.properties([.reasonString, .userProperty], version)
        )
    }

    private mutating func subscribe(_ version: ProtocolVersion) -> SubscribePacket {
        let subscriptions = self.list { generator in
            var subscription = SubscribePacket.Subscription(
                filter: generator.filter(),
                qos: generator.element(QoS.allCases)
            )
            guard version == .v5_0 else { return subscription }
            subscription.noLocal = subscription.filter.first != UInt8(ascii: "$") && generator.random.oneIn(2)
            subscription.retainAsPublished = generator.random.oneIn(2)
            subscription.retainHandling = generator.element([.send, .sendIfNew, .doNotSend])
            return subscription
        }
        var packet = SubscribePacket(packetIdentifier: self.identifier(), subscriptions: subscriptions)
        packet.properties = self.properties([.subscriptionIdentifier, .userProperty], version)
        packet.properties.subscriptionIdentifiers = Array(packet.properties.subscriptionIdentifiers.prefix(1))
        return packet
    }

    private mutating func auth() -> AuthPacket {
        var packet = AuthPacket(reasonCode: self.element(Self.codes(.auth)))
        packet.properties = self.properties(
            [.authenticationMethod, .authenticationData, .reasonString, .userProperty],
            .v5_0
        )
        if packet != AuthPacket(), packet.properties.authenticationMethod == nil {
            packet.properties.authenticationMethod = Array("SCRAM-SHA-256".utf8)
        }
        return packet
    }
}

// Parts of packets.
extension PacketGenerator {
    private static func codes(_ type: PacketType) -> [ReasonCode] {
        ReasonCode.allCases.filter { $0.isAllowed(in: type) }
    }

    private mutating func element<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: elements.indices, using: &self.random)]
    }

    /// One to four elements.
    private mutating func list<Element>(_ make: (inout PacketGenerator) -> Element) -> [Element] {
        (0..<Int.random(in: 1...4, using: &self.random)).map { _ in make(&self) }
    }

    private mutating func identifier() -> UInt16 { UInt16.random(in: 1...UInt16.max, using: &self.random) }

    private mutating func text() -> [UInt8] {
        let long = String(repeating: "long text of plain ASCII, ", count: 10)
        return Array(self.element(["", "x", "Grüße", "name with spaces", "\u{FEFF}name", long]).utf8)
    }

    /// Binary data, now and then long enough for lengths of two and three bytes.
    private mutating func blob() -> [UInt8] {
        switch Int.random(in: 0..<40, using: &self.random) {
        case 0: self.random.bytes(20_000)
        case 1...4: self.random.bytes(Int.random(in: 100...300, using: &self.random))
        default: self.random.bytes(Int.random(in: 0...12, using: &self.random))
        }
    }

    /// Each of the allowed properties with a chance of one half; none before 5.0.
    private mutating func properties(_ allowed: [PropertyIdentifier], _ version: ProtocolVersion) -> Properties {
        var result = Properties()
        guard version == .v5_0, !self.random.oneIn(4) else { return result }
        for identifier in allowed where Bool.random(using: &self.random) { self.add(identifier, to: &result) }
        return result
    }

    private mutating func add(_ identifier: PropertyIdentifier, to properties: inout Properties) {
        let short = self.identifier()
        let long = UInt32.random(in: 1...UInt32.max, using: &self.random)
        let bit = Bool.random(using: &self.random)
        switch identifier {
        case .payloadFormatIndicator: properties.payloadFormatIndicator = bit ? 1 : 0
        case .messageExpiryInterval: properties.messageExpiryInterval = long
        case .contentType: properties.contentType = self.text()
        case .responseTopic: properties.responseTopic = self.topic()
        case .correlationData: properties.correlationData = self.blob()
        case .subscriptionIdentifier:
            properties.subscriptionIdentifiers = self.list {
                UInt32.random(in: 1...UInt32(VariableByteInteger.maximum), using: &$0.random)
            }
        case .sessionExpiryInterval: properties.sessionExpiryInterval = bit ? long : 0
        case .assignedClientIdentifier: properties.assignedClientIdentifier = self.text()
        case .serverKeepAlive: properties.serverKeepAlive = bit ? short : 0
        case .authenticationMethod: properties.authenticationMethod = self.text()
        case .authenticationData: properties.authenticationData = self.blob()
        case .requestProblemInformation: properties.requestProblemInformation = bit
        case .willDelayInterval: properties.willDelayInterval = long
        case .requestResponseInformation: properties.requestResponseInformation = bit
        case .responseInformation: properties.responseInformation = self.text()
        case .serverReference: properties.serverReference = self.text()
        case .reasonString: properties.reasonString = self.text()
        case .receiveMaximum: properties.receiveMaximum = short
        case .topicAliasMaximum: properties.topicAliasMaximum = bit ? short : 0
        case .topicAlias: properties.topicAlias = short
        case .maximumQoS: properties.maximumQoS = bit ? .atLeastOnce : .atMostOnce
        case .retainAvailable: properties.retainAvailable = bit
        case .userProperty:
            properties.userProperties = self.list { Properties.UserProperty(name: $0.text(), value: $0.text()) }
        case .maximumPacketSize: properties.maximumPacketSize = long
        case .wildcardSubscriptionAvailable: properties.wildcardSubscriptionAvailable = bit
        case .subscriptionIdentifiersAvailable: properties.subscriptionIdentifiersAvailable = bit
        case .sharedSubscriptionAvailable: properties.sharedSubscriptionAvailable = bit
        }
    }
}
