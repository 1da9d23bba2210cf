import COpenSSL

/// The versions of TLS that Martlet speaks.
package enum TLSVersion: Int, Sendable, Comparable {
    case v1_2 = 12
    case v1_3 = 13

    package static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }

    /// "1.2".
    var number: String {
        switch self {
        case .v1_2: "1.2"
        case .v1_3: "1.3"
        }
    }

    var protocolNumber: Int32 {
        switch self {
        case .v1_2: TLS1_2_VERSION
        case .v1_3: TLS1_3_VERSION
        }
    }
}
