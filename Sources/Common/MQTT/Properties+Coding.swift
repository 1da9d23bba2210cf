extension Properties {
    /// Reads the properties that a cursor goes over.
    static func decode(_ start: PropertyCursor) throws(DecodeError) -> Properties {
        var result = Properties()
        var cursor = start
        while let property = try cursor.next() { result.set(property) }
        return result
    }

    /// Those of a message as the router's store has them: encoded, without their length.
    /// - Throws: `DecodeError` when they are not those of a PUBLISH.
    public init(ofMessage encoded: UnsafeRawBufferPointer) throws(DecodeError) {
        self = try Self.decode(
            PropertyCursor(encoded, 0..<encoded.count, allowed: .publish, repeatable: .publish)
        )
    }

    private mutating func set(_ property: EncodedProperty) {
        let integer = property.integer
        let short = UInt16(truncatingIfNeeded: integer)
        switch property.identifier {
        case .payloadFormatIndicator: self.payloadFormatIndicator = UInt8(truncatingIfNeeded: integer)
        case .messageExpiryInterval: self.messageExpiryInterval = integer
        case .contentType: self.contentType = [UInt8](property.bytes)
        case .responseTopic: self.responseTopic = [UInt8](property.bytes)
        case .correlationData: self.correlationData = [UInt8](property.bytes)
        case .subscriptionIdentifier: self.subscriptionIdentifiers.append(integer)
        case .sessionExpiryInterval: self.sessionExpiryInterval = integer
        case .assignedClientIdentifier: self.assignedClientIdentifier = [UInt8](property.bytes)
        case .serverKeepAlive: self.serverKeepAlive = short
        case .authenticationMethod: self.authenticationMethod = [UInt8](property.bytes)
        case .authenticationData: self.authenticationData = [UInt8](property.bytes)
        case .requestProblemInformation: self.requestProblemInformation = integer == 1
        case .willDelayInterval: self.willDelayInterval = integer
        case .requestResponseInformation: self.requestResponseInformation = integer == 1
        case .responseInformation: self.responseInformation = [UInt8](property.bytes)
        case .serverReference: self.serverReference = [UInt8](property.bytes)
        case .reasonString: self.reasonString = [UInt8](property.bytes)
        case .receiveMaximum: self.receiveMaximum = short
        case .topicAliasMaximum: self.topicAliasMaximum = short
        case .topicAlias: self.topicAlias = short
        case .maximumQoS: self.maximumQoS = integer == 0 ? .atMostOnce : .atLeastOnce
        case .retainAvailable: self.retainAvailable = integer == 1
        case .userProperty:
            self.userProperties.append(
                UserProperty(name: [UInt8](property.bytes), value: [UInt8](property.pairValue))
            )
        case .maximumPacketSize: self.maximumPacketSize = integer
        case .wildcardSubscriptionAvailable: self.wildcardSubscriptionAvailable = integer == 1
        case .subscriptionIdentifiersAvailable: self.subscriptionIdentifiersAvailable = integer == 1
        case .sharedSubscriptionAvailable: self.sharedSubscriptionAvailable = integer == 1
        }
    }

    /// Appends the length and the properties, in the order of their identifiers.
    public func encode(into buffer: inout ByteBuffer) {
        let start = buffer.beginLength()
        self.encodeMessageProperties(into: &buffer)
        self.encodeConnectionProperties(into: &buffer)
        self.encodeLimits(into: &buffer)
        buffer.endLength(start)
    }

    /// Identifiers 0x01 to 0x0B.
    private func encodeMessageProperties(into buffer: inout ByteBuffer) {
        buffer.write(.payloadFormatIndicator, self.payloadFormatIndicator)
        buffer.write(.messageExpiryInterval, self.messageExpiryInterval)
        buffer.write(.contentType, self.contentType)
        buffer.write(.responseTopic, self.responseTopic)
        buffer.write(.correlationData, self.correlationData)
        for identifier in self.subscriptionIdentifiers {
            buffer.write(PropertyIdentifier.subscriptionIdentifier.rawValue)
            buffer.writeVariableByteInteger(Int(identifier))
        }
    }

    /// Identifiers 0x11 to 0x1F.
    private func encodeConnectionProperties(into buffer: inout ByteBuffer) {
        buffer.write(.sessionExpiryInterval, self.sessionExpiryInterval)
        buffer.write(.assignedClientIdentifier, self.assignedClientIdentifier)
        buffer.write(.serverKeepAlive, self.serverKeepAlive)
        buffer.write(.authenticationMethod, self.authenticationMethod)
        buffer.write(.authenticationData, self.authenticationData)
        buffer.write(.requestProblemInformation, self.requestProblemInformation)
        buffer.write(.willDelayInterval, self.willDelayInterval)
        buffer.write(.requestResponseInformation, self.requestResponseInformation)
        buffer.write(.responseInformation, self.responseInformation)
        buffer.write(.serverReference, self.serverReference)
        buffer.write(.reasonString, self.reasonString)
    }

    /// Identifiers 0x21 to 0x2A.
    private func encodeLimits(into buffer: inout ByteBuffer) {
        buffer.write(.receiveMaximum, self.receiveMaximum)
        buffer.write(.topicAliasMaximum, self.topicAliasMaximum)
        buffer.write(.topicAlias, self.topicAlias)
        buffer.write(.maximumQoS, self.maximumQoS?.rawValue)
        buffer.write(.retainAvailable, self.retainAvailable)
        for property in self.userProperties {
            buffer.write(PropertyIdentifier.userProperty.rawValue)
            buffer.writeMQTTString(property.name)
            buffer.writeMQTTString(property.value)
        }
        buffer.write(.maximumPacketSize, self.maximumPacketSize)
        buffer.write(.wildcardSubscriptionAvailable, self.wildcardSubscriptionAvailable)
        buffer.write(.subscriptionIdentifiersAvailable, self.subscriptionIdentifiersAvailable)
        buffer.write(.sharedSubscriptionAvailable, self.sharedSubscriptionAvailable)
    }
}

// A property and its value, or nothing if there is none.
extension ByteBuffer {
    fileprivate mutating func write<Integer: FixedWidthInteger>(_ identifier: PropertyIdentifier, _ value: Integer?) {
        guard let value else { return }
        self.write(identifier.rawValue)
        self.writeBigEndian(value)
    }

    fileprivate mutating func write(_ identifier: PropertyIdentifier, _ value: Bool?) {
        guard let value else { return }
        self.write(identifier.rawValue)
        self.write(value ? 1 as UInt8 : 0)
    }

    fileprivate mutating func write(_ identifier: PropertyIdentifier, _ value: [UInt8]?) {
        guard let value else { return }
        self.write(identifier.rawValue)
        self.writeMQTTString(value)
    }
}
