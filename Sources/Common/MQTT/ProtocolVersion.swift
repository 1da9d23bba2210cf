/// The protocol level byte of CONNECT (MQTT 3.1.1 and 5.0, section 3.1.2.2).
public enum ProtocolVersion: UInt8, Sendable, CaseIterable {
    case v3_1 = 3
    case v3_1_1 = 4
    case v5_0 = 5

    /// Only MQTT 5.0 packets carry properties and, nearly everywhere, reason codes.
    @inlinable public var hasProperties: Bool { self == .v5_0 }
}

/// As `protocol_versions` has them.
extension ProtocolVersion: CustomStringConvertible {
    public var description: String {
        switch self {
        case .v3_1: "3.1"
        case .v3_1_1: "3.1.1"
        case .v5_0: "5.0"
        }
    }
}
