/// One property as it lies in a packet.
struct EncodedProperty {
    var identifier: PropertyIdentifier
    /// Identifier and value, from the first byte of the packet.
    var range: Range<Int>
    /// The value of bytes, bits and integers.
    var integer: UInt32 = 0
    /// The value of texts and binary data, the name of a pair.
    var bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    /// The value of a pair.
    var pairValue = UnsafeRawBufferPointer(start: nil, count: 0)
}

/// Walks over encoded properties and checks them one by one (MQTT 5.0, section 2.2.2); allocates nothing.
struct PropertyCursor {
    private var reader: ByteReader
    private let allowed: PropertySet
    /// What may appear more than once.
    private let repeatable: PropertySet
    /// What a property is called that is well-formed and not this packet's, or a subscription identifier 0. Section 2.2.2.2
    /// says 0x81 of the former and section 3.8.2.1.2 says 0x82 of the latter; clients know 0x82 for both from other brokers,
    /// and 0x81 for both in SUBSCRIBE and UNSUBSCRIBE. The connection ends either way.
    private let strayCode: ReasonCode
    private var seen = PropertySet.none

    /// `range` is where the properties lie in `packet`, without their length.
    init(
        _ packet: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        allowed: PropertySet,
        repeatable: PropertySet,
        strayCode: ReasonCode = .protocolError
    ) {
        self.strayCode = strayCode
        self.reader = ByteReader(UnsafeRawBufferPointer(rebasing: packet[..<range.upperBound]))
        self.reader.position = range.lowerBound
        self.allowed = allowed
        self.repeatable = repeatable
    }

    /// The next property, nil after the last.
    mutating func next() throws(DecodeError) -> EncodedProperty? {
        guard !self.reader.isAtEnd else { return nil }
        let start = self.reader.offset
        // An identifier outside table 2-4 is malformed (section 2.2.2.2), and so is a value that is cut short.
        guard let identifier = PropertyIdentifier(rawValue: try self.reader.requireUInt8()) else {
            throw .malformed("unknown property")
        }
        var property = EncodedProperty(identifier: identifier, range: start..<start)
        switch identifier.kind {
        case .bit: property.integer = UInt32(try self.reader.requireUInt8())
        case .twoBytes: property.integer = UInt32(try self.reader.requireUInt16())
        case .fourBytes: property.integer = try self.reader.requireUInt32()
        case .variableByteInteger: property.integer = try self.reader.requireVariableByteInteger()
        case .text: property.bytes = try self.reader.requireText()
        case .binary: property.bytes = try self.reader.requireBinary()
        case .textPair:
            property.bytes = try self.reader.requireText()
            property.pairValue = try self.reader.requireText()
        }
        property.range = start..<self.reader.offset
        try self.checkPlace(of: identifier)
        try self.checkValue(property)
        return property
    }

    private mutating func checkPlace(of identifier: PropertyIdentifier) throws(DecodeError) {
        guard self.allowed.contains(identifier) else {
            throw DecodeError(self.strayCode, "property that this packet cannot have")
        }
        if self.seen.contains(identifier), !self.repeatable.contains(identifier) {
            throw .protocolError("property appears more than once")
        }
        self.seen.insert(identifier)
    }

    private func checkValue(_ property: EncodedProperty) throws(DecodeError) {
        switch property.identifier {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
            .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifiersAvailable,
            .sharedSubscriptionAvailable:
            // Sections 3.3.2.3.2, 3.1.2.11.6, 3.1.2.11.7, 3.2.2.3.4, 3.2.2.3.5, 3.2.2.3.11 to 3.2.2.3.13.
            guard property.integer <= 1 else { throw .protocolError("property must be 0 or 1") }
        case .receiveMaximum:
            // Section 3.1.2.11.3.
            guard property.integer != 0 else { throw .protocolError("receive maximum 0") }
        case .maximumPacketSize:
            // Section 3.1.2.11.4.
            guard property.integer != 0 else { throw .protocolError("maximum packet size 0") }
        case .subscriptionIdentifier:
            // Section 3.8.2.1.2.
            guard property.integer != 0 else { throw DecodeError(self.strayCode, "subscription identifier 0") }
        case .topicAlias:
            // [MQTT-3.3.2-8]
            guard property.integer != 0 else { throw DecodeError(.topicAliasInvalid, "topic alias 0") }
        case .responseTopic:
            // [MQTT-3.3.2-14], [MQTT-4.7.3-1]
            guard TopicName.isValid(property.bytes) else {
                throw .protocolError("response topic is empty or has wildcards")
            }
        case .messageExpiryInterval, .contentType, .correlationData, .sessionExpiryInterval, .assignedClientIdentifier,
            .serverKeepAlive, .authenticationMethod, .authenticationData, .willDelayInterval, .responseInformation,
            .serverReference, .reasonString, .topicAliasMaximum, .userProperty:
            break
        }
    }
}
