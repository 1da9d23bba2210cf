/// A field of a verified certificate cannot serve as a name, so its holder must be refused.
package struct PeerIdentityError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Field: String, Sendable {
        case subject
        case commonName = "common name"
        case issuer
        case alternativeName = "subject alternative name"
        case serialNumber = "serial number"
        case notAfter = "end of validity"
    }

    package enum Reason: String, Sendable {
        /// They could smuggle lines into logs and commands into protocols.
        case controlCharacter = "holds a control character"
        /// The bytes are not of the character set that the certificate claims.
        case malformed = "is malformed"
        /// Beyond `IdentityLimits`.
        case tooLong = "is too long"
    }

    package var field: Field
    package var reason: Reason

    package init(field: Field, reason: Reason) {
        self.field = field
        self.reason = reason
    }

    package var description: String { "the certificate's \(self.field.rawValue) \(self.reason.rawValue)" }
}

/// Bounds on what is taken from a certificate, so that an identity always fits into a frame. Certificates with a longer field are
/// refused; further alternative names are left out.
package enum IdentityLimits {
    /// Bytes of subject, issuer, common name and each alternative name. RFC 5280 bounds most attributes to 64 characters.
    package static let fieldBytesMax = 2048
    /// Alternative names that are taken of one certificate. Devices have one or two.
    package static let alternativeNamesMax = 64
    /// Bytes of them together, beside the first of each kind.
    package static let alternativeNamesBytesMax = 8192
    /// Bytes of the serial number; RFC 5280 section 4.1.2.2 allows 20.
    package static let serialNumberBytesMax = 64
}
