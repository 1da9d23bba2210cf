/// The properties of an MQTT 5.0 packet (section 2.2.2). Which of them a packet type may carry is checked on decoding.
///
/// Strings are bytes that were checked to be UTF-8: Swift's String compares by canonical equivalence, MQTT by bytes.
package struct Properties: Equatable, Sendable {
    package struct UserProperty: Equatable, Sendable {
        package var name: [UInt8]
        package var value: [UInt8]

        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    package var payloadFormatIndicator: UInt8?
    /// Seconds.
    package var messageExpiryInterval: UInt32?
    package var contentType: [UInt8]?
    package var responseTopic: [UInt8]?
    package var correlationData: [UInt8]?
    /// In order of appearance; more than one only in a PUBLISH from the server.
    package var subscriptionIdentifiers: [UInt32] = []
    /// Seconds; 0xFFFFFFFF: never.
    package var sessionExpiryInterval: UInt32?
    package var assignedClientIdentifier: [UInt8]?
    /// Seconds.
    package var serverKeepAlive: UInt16?
    package var authenticationMethod: [UInt8]?
    package var authenticationData: [UInt8]?
    package var requestProblemInformation: Bool?
    /// Seconds.
    package var willDelayInterval: UInt32?
    package var requestResponseInformation: Bool?
    package var responseInformation: [UInt8]?
    package var serverReference: [UInt8]?
    package var reasonString: [UInt8]?
    package var receiveMaximum: UInt16?
    package var topicAliasMaximum: UInt16?
    package var topicAlias: UInt16?
    /// 0 or 1; 2 is meant when it is absent.
    package var maximumQoS: QoS?
    package var retainAvailable: Bool?
    /// In order of appearance.
    package var userProperties: [UserProperty] = []
    /// Bytes.
    package var maximumPacketSize: UInt32?
    package var wildcardSubscriptionAvailable: Bool?
    package var subscriptionIdentifiersAvailable: Bool?
    package var sharedSubscriptionAvailable: Bool?

    package init() {}
}
