/// What a verified client certificate says about its holder. All text is bytes in UTF-8; none holds control characters
/// (certificates with such fields are refused by the listener).
public struct CertificateIdentity: Equatable, Sendable {
    public enum AlternativeNameKind: UInt8, Sendable, CaseIterable {
        case dns = 1
        case ipAddress = 2
        case email = 3
        case uri = 4
    }

    public struct AlternativeName: Equatable, Sendable {
        public var kind: AlternativeNameKind
        public var value: [UInt8]

        public init(kind: AlternativeNameKind, value: [UInt8]) {
            self.kind = kind
            self.value = value
        }
    }

    /// `%C`: all common names of the subject, joined with commas; nil when there is none.
    public var commonName: [UInt8]?
    /// `%d`: the subject as RFC 4514 writes it, most specific name first: `CN=346a004d,O=Fleet\, Ltd,C=DE`. Empty for an empty subject.
    public var subject: [UInt8]
    /// The issuer in the same form.
    public var issuer: [UInt8]
    /// Upper-case hexadecimal digits, two per byte.
    public var serialNumber: [UInt8]
    /// SHA-256 of the DER encoding: 32 bytes.
    public var fingerprint: [UInt8]
    public var alternativeNames: [AlternativeName]
    /// Seconds since 1970.
    public var notAfter: Int64

    public init(
        commonName: [UInt8]?,
        subject: [UInt8],
        issuer: [UInt8],
        serialNumber: [UInt8],
        fingerprint: [UInt8],
        alternativeNames: [AlternativeName] = [],
        notAfter: Int64
    ) {
        self.commonName = commonName
        self.subject = subject
        self.issuer = issuer
        self.serialNumber = serialNumber
        self.fingerprint = fingerprint
        self.alternativeNames = alternativeNames
        self.notAfter = notAfter
    }
}
