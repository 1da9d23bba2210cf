/// The upper four bits of a packet's first byte (MQTT 5.0, section 2.1.2).
public enum PacketType: UInt8, Sendable, CaseIterable {
    case connect = 1
    case connack = 2
    case publish = 3
    case puback = 4
    case pubrec = 5
    case pubrel = 6
    case pubcomp = 7
    case subscribe = 8
    case suback = 9
    case unsubscribe = 10
    case unsuback = 11
    case pingreq = 12
    case pingresp = 13
    case disconnect = 14
    case auth = 15

    /// Whether the bytes of such packets count against the credit of their session and link: those that a client can send without
    /// being asked for them. The others answer something, and what they free must not wait.
    @inlinable public var usesCredit: Bool {
        self == .publish || self == .subscribe || self == .unsubscribe
    }

    /// What the lower four bits must be ([MQTT-2.1.3-1]). In PUBLISH they are free: DUP, QoS and RETAIN.
    @inlinable public var requiredFlags: UInt8 {
        switch self {
        case .pubrel, .subscribe, .unsubscribe: 0b0010
        case .connect, .connack, .publish, .puback, .pubrec, .pubcomp, .suback, .unsuback, .pingreq, .pingresp,
            .disconnect, .auth:
            0
        }
    }

    /// What a broker tells a client whose flags are wrong: a packet that may not come at all is a protocol error whatever its
    /// flags are, any other is malformed.
    @inlinable public var wrongFlagsCode: ReasonCode {
        switch self {
        case .connect, .connack, .suback, .unsuback, .pingresp, .auth: .protocolError
        case .publish, .puback, .pubrec, .pubrel, .pubcomp, .subscribe, .unsubscribe, .pingreq, .disconnect:
            .malformedPacket
        }
    }
}
