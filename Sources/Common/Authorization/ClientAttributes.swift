/// What is known about a client that asks to be let in: where the values of placeholders come from.
public struct ClientAttributes: Equatable, Sendable {
    public var clientIdentifier: [UInt8]
    public var userName: [UInt8]?
    /// Address, with or without a port: `192.0.2.1:40000`, `[2001:db8::1]:40000`, `2001:db8::1`.
    public var peerAddress: [UInt8]
    public var identity: CertificateIdentity?

    public init(
        clientIdentifier: [UInt8],
        userName: [UInt8]? = nil,
        peerAddress: [UInt8] = [],
        identity: CertificateIdentity? = nil
    ) {
        self.clientIdentifier = clientIdentifier
        self.userName = userName
        self.peerAddress = peerAddress
        self.identity = identity
    }

    public init(_ query: AuthQuery) {
        self.init(
            clientIdentifier: query.clientIdentifier,
            userName: query.userName,
            peerAddress: query.peerAddress,
            identity: query.identity
        )
    }

    /// Nil when the client has no such value. An empty value counts as none: `devices/%u/#` must not become `devices//#`, nor a
    /// look-up one of the key that all clients without the field would share.
    public func value(of placeholder: Placeholder) -> [UInt8]? {
        let value: [UInt8]? =
            switch placeholder {
            case .userName: self.userName
            case .clientIdentifier: self.clientIdentifier
            case .commonName: self.identity?.commonName
            case .subject: self.identity?.subject
            case .serialNumber: self.identity?.serialNumber
            case .fingerprint: self.identity.map { Self.hexadecimal($0.fingerprint) }
            case .dnsName: self.alternativeName(.dns)
            case .ipAddress: self.alternativeName(.ipAddress)
            case .email: self.alternativeName(.email)
            case .uri: self.alternativeName(.uri)
            case .peerHost: self.peerHost
            }
        guard let value, !value.isEmpty else { return nil }
        return value
    }

    private func alternativeName(_ kind: CertificateIdentity.AlternativeNameKind) -> [UInt8]? {
        self.identity?.alternativeNames.first { $0.kind == kind }?.value
    }

    private var peerHost: [UInt8] {
        let address = self.peerAddress
        if address.first == UInt8(ascii: "["), let end = address.firstIndex(of: UInt8(ascii: "]")) {
            return Array(address[1..<end])
        }
        guard let colon = address.firstIndex(of: UInt8(ascii: ":")),
            colon == address.lastIndex(of: UInt8(ascii: ":"))
        else { return address }
        return Array(address[..<colon])
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 0xF)])
        }
        return text
    }
}
