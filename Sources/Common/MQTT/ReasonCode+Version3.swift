// What MQTT 3.1 and 3.1.1 say instead of reason codes: the only place that translates.
extension ReasonCode {
    /// The return code of a CONNACK for this version: the reason code itself in 5.0; in 3.1 and 3.1.1 one of 0 to 5 (table 3.1).
    ///
    /// Nil: nothing there fits, and the connection must be closed without a CONNACK ([MQTT-3.2.2-6] of 3.1.1).
    public func connackReturnCode(for version: ProtocolVersion) -> UInt8? {
        if version.hasProperties { return self.rawValue }
        switch self {
        case .success: return 0
        case .unsupportedProtocolVersion: return 1
        case .clientIdentifierNotValid: return 2
        case .serverUnavailable, .serverBusy, .serverShuttingDown, .unspecifiedError, .implementationSpecificError,
            .quotaExceeded, .connectionRateExceeded, .useAnotherServer, .serverMoved:
            return 3
        case .badUserNameOrPassword, .badAuthenticationMethod: return 4
        case .notAuthorized, .banned: return 5
        default: return nil
        }
    }

    /// What a return code of a 3.1 or 3.1.1 CONNACK means; nil from 6 on, which is reserved.
    public init?(version3ConnackReturnCode byte: UInt8) {
        switch byte {
        case 0: self = .success
        case 1: self = .unsupportedProtocolVersion
        case 2: self = .clientIdentifierNotValid
        case 3: self = .serverUnavailable
        case 4: self = .badUserNameOrPassword
        case 5: self = .notAuthorized
        default: return nil
        }
    }

    /// The return code of a SUBACK for this version: before 5.0 every failure is 0x80 (3.1.1, section 3.9.3).
    public func subackReturnCode(for version: ProtocolVersion) -> UInt8 {
        if version.hasProperties { return self.rawValue }
        return self.isFailure ? 0x80 : self.rawValue
    }

    /// The SUBACK code that grants a QoS.
    public init(granted qos: QoS) {
        switch qos {
        case .atMostOnce: self = .success
        case .atLeastOnce: self = .grantedQoS1
        case .exactlyOnce: self = .grantedQoS2
        }
    }
}
