/// What a template may ask about a client, in EMQX 4's spelling (`%u`) or EMQX 5's (`${username}`); both may stand in one text.
public enum Placeholder: CaseIterable, Equatable, Sendable {
    case userName
    case clientIdentifier
    case commonName
    case subject
    /// Upper-case hexadecimal.
    case serialNumber
    /// SHA-256 of the certificate in lower-case hexadecimal.
    case fingerprint
    /// The first alternative name of a kind.
    case dnsName
    case ipAddress
    case email
    case uri
    /// The client's address without the port.
    case peerHost

    public var name: String {
        switch self {
        case .userName: "username"
        case .clientIdentifier: "clientid"
        case .commonName: "cert_common_name"
        case .subject: "cert_subject"
        case .serialNumber: "cert_serial"
        case .fingerprint: "cert_fingerprint"
        case .dnsName: "cert_san.dns"
        case .ipAddress: "cert_san.ip"
        case .email: "cert_san.email"
        case .uri: "cert_san.uri"
        case .peerHost: "peerhost"
        }
    }

    /// The letter after the percent sign; nil for what EMQX 4 does not have.
    public var letter: UInt8? {
        switch self {
        case .userName: UInt8(ascii: "u")
        case .clientIdentifier: UInt8(ascii: "c")
        case .commonName: UInt8(ascii: "C")
        case .subject: UInt8(ascii: "d")
        case .serialNumber, .fingerprint, .dnsName, .ipAddress, .email, .uri, .peerHost: nil
        }
    }

    /// For sentences about a client that lacks it.
    public var title: String {
        switch self {
        case .userName: "a user name"
        case .clientIdentifier: "a client id"
        case .commonName: "a certificate with a common name"
        case .subject: "a certificate with a subject"
        case .serialNumber: "a certificate with a serial number"
        case .fingerprint: "a certificate"
        case .dnsName: "a certificate with a DNS name"
        case .ipAddress: "a certificate with an IP address"
        case .email: "a certificate with an e-mail address"
        case .uri: "a certificate with a URI"
        case .peerHost: "a network address"
        }
    }

    /// The value is the broker's own reading of the certificate, not something that the client writes into CONNECT.
    public var isFromCertificate: Bool {
        switch self {
        case .commonName, .subject, .serialNumber, .fingerprint, .dnsName, .ipAddress, .email, .uri: true
        case .userName, .clientIdentifier, .peerHost: false
        }
    }

    /// `%u or ${username}, %c or ${clientid}, …`: for error messages.
    public static let listing = Placeholder.allCases.map { placeholder in
        let short = placeholder.letter.map { "%\(Character(UnicodeScalar($0))) or " } ?? ""
        return "\(short)${\(placeholder.name)}"
    }.joined(separator: ", ")
}
