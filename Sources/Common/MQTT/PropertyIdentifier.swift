/// The first byte of a property (MQTT 5.0, table 2-4). On the wire it is a variable byte integer; all that exist take one byte.
public enum PropertyIdentifier: UInt8, Sendable, CaseIterable {
    case payloadFormatIndicator = 0x01
    case messageExpiryInterval = 0x02
    case contentType = 0x03
    case responseTopic = 0x08
    case correlationData = 0x09
    case subscriptionIdentifier = 0x0B
    case sessionExpiryInterval = 0x11
    case assignedClientIdentifier = 0x12
    case serverKeepAlive = 0x13
    case authenticationMethod = 0x15
    case authenticationData = 0x16
    case requestProblemInformation = 0x17
    case willDelayInterval = 0x18
    case requestResponseInformation = 0x19
    case responseInformation = 0x1A
    case serverReference = 0x1C
    case reasonString = 0x1F
    case receiveMaximum = 0x21
    case topicAliasMaximum = 0x22
    case topicAlias = 0x23
    case maximumQoS = 0x24
    case retainAvailable = 0x25
    case userProperty = 0x26
    case maximumPacketSize = 0x27
    case wildcardSubscriptionAvailable = 0x28
    case subscriptionIdentifiersAvailable = 0x29
    case sharedSubscriptionAvailable = 0x2A

    /// How the value is written (MQTT 5.0, table 2-4).
    enum Kind {
        /// A byte that must be 0 or 1.
        case bit
        case twoBytes
        case fourBytes
        case variableByteInteger
        case text
        case binary
        case textPair
    }

    var kind: Kind {
        switch self {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
            .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifiersAvailable,
            .sharedSubscriptionAvailable:
            .bit
        case .serverKeepAlive, .receiveMaximum, .topicAliasMaximum, .topicAlias:
            .twoBytes
        case .messageExpiryInterval, .sessionExpiryInterval, .willDelayInterval, .maximumPacketSize:
            .fourBytes
        case .subscriptionIdentifier:
            .variableByteInteger
        case .contentType, .responseTopic, .assignedClientIdentifier, .authenticationMethod, .responseInformation,
            .serverReference, .reasonString:
            .text
        case .correlationData, .authenticationData:
            .binary
        case .userProperty:
            .textPair
        }
    }
}

/// A set of property identifiers in one word: they all lie below 64.
struct PropertySet: Equatable, Sendable {
    var bits: UInt64

    static var none: PropertySet { PropertySet(bits: 0) }

    init(bits: UInt64) {
        self.bits = bits
    }

    init(_ identifier: PropertyIdentifier) {
        self.bits = 1 << UInt64(identifier.rawValue)
    }

    func contains(_ identifier: PropertyIdentifier) -> Bool {
        self.bits & PropertySet(identifier).bits != 0
    }

    mutating func insert(_ identifier: PropertyIdentifier) {
        self.bits |= PropertySet(identifier).bits
    }

    static func + (set: PropertySet, identifier: PropertyIdentifier) -> PropertySet {
        PropertySet(bits: set.bits | PropertySet(identifier).bits)
    }
}

// What each packet may carry (MQTT 5.0, table 2-4). Computed: a stored global would be guarded by a lock on every use.
extension PropertySet {
    static var connect: PropertySet {
        .none + .sessionExpiryInterval + .receiveMaximum + .maximumPacketSize + .topicAliasMaximum
            + .requestResponseInformation + .requestProblemInformation + .userProperty + .authenticationMethod
            + .authenticationData
    }

    static var will: PropertySet {
        .none + .willDelayInterval + .payloadFormatIndicator + .messageExpiryInterval + .contentType + .responseTopic
            + .correlationData + .userProperty
    }

    static var connack: PropertySet {
        .none + .sessionExpiryInterval + .receiveMaximum + .maximumQoS + .retainAvailable + .maximumPacketSize
            + .assignedClientIdentifier + .topicAliasMaximum + .reasonString + .userProperty
            + .wildcardSubscriptionAvailable + .subscriptionIdentifiersAvailable + .sharedSubscriptionAvailable
            + .serverKeepAlive + .responseInformation + .serverReference + .authenticationMethod + .authenticationData
    }

    static var publish: PropertySet {
        .none + .payloadFormatIndicator + .messageExpiryInterval + .topicAlias + .responseTopic + .correlationData
            + .userProperty + .subscriptionIdentifier + .contentType
    }

    /// Set by whoever sends the packet and not passed on: these the receiver of a PUBLISH consumes.
    static var notForwarded: PropertySet { .none + .messageExpiryInterval + .topicAlias + .subscriptionIdentifier }

    static var subscribe: PropertySet { .none + .subscriptionIdentifier + .userProperty }

    static var unsubscribe: PropertySet { .none + .userProperty }

    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
    static var acknowledgement: PropertySet { .none + .reasonString + .userProperty }

    static var disconnect: PropertySet {
        .none + .sessionExpiryInterval + .reasonString + .userProperty + .serverReference
    }

    static var auth: PropertySet {
        .none + .authenticationMethod + .authenticationData + .reasonString + .userProperty
    }
}
