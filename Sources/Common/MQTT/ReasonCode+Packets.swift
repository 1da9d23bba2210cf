extension ReasonCode {
    /// Whether packets of this type may carry the code (MQTT 5.0, table 2-6).
    public func isAllowed(in type: PacketType) -> Bool {
        switch type {
        case .connack: self.isAllowedInConnack
        // [MQTT-3.4.2-1], [MQTT-3.5.2-1]
        case .puback, .pubrec: self.isAllowedInPuback
        // [MQTT-3.6.2-1], [MQTT-3.7.2-1]
        case .pubrel, .pubcomp: self == .success || self == .packetIdentifierNotFound
        // [MQTT-3.9.3-2]
        case .suback: self.isAllowedInSuback
        // [MQTT-3.11.3-2]
        case .unsuback: self.isAllowedInUnsuback
        // [MQTT-3.14.2-1]
        case .disconnect: self.isAllowedInDisconnect
        // [MQTT-3.15.2-1]
        case .auth: self == .success || self == .continueAuthentication || self == .reauthenticate
        case .connect, .publish, .subscribe, .unsubscribe, .pingreq, .pingresp: false
        }
    }

    /// Section 3.2.2.2.
    private var isAllowedInConnack: Bool {
        switch self {
        case .success, .unspecifiedError, .malformedPacket, .protocolError, .implementationSpecificError,
            .unsupportedProtocolVersion, .clientIdentifierNotValid, .badUserNameOrPassword, .notAuthorized,
            .serverUnavailable, .serverBusy, .banned, .badAuthenticationMethod, .topicNameInvalid, .packetTooLarge,
            .quotaExceeded, .payloadFormatInvalid, .retainNotSupported, .qosNotSupported, .useAnotherServer,
            .serverMoved, .connectionRateExceeded:
            true
        default:
            false
        }
    }

    /// Section 3.4.2.1.
    private var isAllowedInPuback: Bool {
        switch self {
        case .success, .noMatchingSubscribers, .unspecifiedError, .implementationSpecificError, .notAuthorized,
            .topicNameInvalid, .packetIdentifierInUse, .quotaExceeded, .payloadFormatInvalid:
            true
        default:
            false
        }
    }

    /// Section 3.9.3.
    private var isAllowedInSuback: Bool {
        switch self {
        case .success, .grantedQoS1, .grantedQoS2, .unspecifiedError, .implementationSpecificError, .notAuthorized,
            .topicFilterInvalid, .packetIdentifierInUse, .quotaExceeded, .sharedSubscriptionsNotSupported,
            .subscriptionIdentifiersNotSupported, .wildcardSubscriptionsNotSupported:
            true
        default:
            false
        }
    }

    /// Section 3.11.3.
    private var isAllowedInUnsuback: Bool {
        switch self {
        case .success, .noSubscriptionExisted, .unspecifiedError, .implementationSpecificError, .notAuthorized,
            .topicFilterInvalid, .packetIdentifierInUse:
            true
        default:
            false
        }
    }

    /// Section 3.14.2.1, and 0x8C, which only table 2-6 has.
    private var isAllowedInDisconnect: Bool {
        switch self {
        case .success, .disconnectWithWill, .unspecifiedError, .malformedPacket, .protocolError,
            .implementationSpecificError, .notAuthorized, .serverBusy, .serverShuttingDown, .badAuthenticationMethod,
            .keepAliveTimeout, .sessionTakenOver, .topicFilterInvalid, .topicNameInvalid, .receiveMaximumExceeded,
            .topicAliasInvalid,
            .packetTooLarge, .messageRateTooHigh, .quotaExceeded, .administrativeAction, .payloadFormatInvalid,
            .retainNotSupported, .qosNotSupported, .useAnotherServer, .serverMoved, .sharedSubscriptionsNotSupported,
            .connectionRateExceeded, .maximumConnectTime, .subscriptionIdentifiersNotSupported,
            .wildcardSubscriptionsNotSupported:
            true
        default:
            false
        }
    }
}
