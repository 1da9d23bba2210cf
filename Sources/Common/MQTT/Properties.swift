/// The properties of an MQTT 5.0 packet (section 2.2.2). Which of them a packet type may carry is checked on decoding.
///
/// Strings are bytes that were checked to be UTF-8: Swift's String compares by canonical equivalence, MQTT by bytes.
public struct Properties: Equatable, Sendable {
    public struct UserProperty: Equatable, Sendable {
        public var name: [UInt8]
        public var value: [UInt8]

        public init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    public var payloadFormatIndicator: UInt8?
    /// Seconds.
    public var messageExpiryInterval: UInt32?
    public var contentType: [UInt8]?
    public var responseTopic: [UInt8]?
    public var correlationData: [UInt8]?
    /// In order of appearance; more than one only in a PUBLISH from the server.
    public var subscriptionIdentifiers: [UInt32] = []
    /// Seconds; 0xFFFFFFFF: never.
    public var sessionExpiryInterval: UInt32?
    public var assignedClientIdentifier: [UInt8]?
    /// Seconds.
    public var serverKeepAlive: UInt16?
    public var authenticationMethod: [UInt8]?
    public var authenticationData: [UInt8]?
    public var requestProblemInformation: Bool?
    /// Seconds.
    public var willDelayInterval: UInt32?
    public var requestResponseInformation: Bool?
    public var responseInformation: [UInt8]?
    public var serverReference: [UInt8]?
    public var reasonString: [UInt8]?
    public var receiveMaximum: UInt16?
    public var topicAliasMaximum: UInt16?
    public var topicAlias: UInt16?
    /// 0 or 1; 2 is meant when it is absent.
    public var maximumQoS: QoS?
    public var retainAvailable: Bool?
    /// In order of appearance.
    public var userProperties: [UserProperty] = []
    /// Bytes.
    public var maximumPacketSize: UInt32?
    public var wildcardSubscriptionAvailable: Bool?
    public var subscriptionIdentifiersAvailable: Bool?
    public var sharedSubscriptionAvailable: Bool?

    public init() {}
}
