/// What an operator calls a device: its common name, client id, user name, the beginning of its certificate's fingerprint, or its
/// address.
public struct DeviceSearch {
    private let text: [UInt8]
    private static let fingerprintDigitsMin = 8

    public init(_ text: String) {
        self.text = Array(text.utf8)
    }

    public func finds(
        identity: CertificateIdentity?,
        clientIdentifier: [UInt8],
        userName: [UInt8]?,
        address: [UInt8]
    ) -> Bool {
        if self.text == clientIdentifier || self.text == userName || self.isHost(of: address) { return true }
        guard let identity else { return false }
        if self.text == identity.commonName || self.text == identity.subject { return true }
        guard self.text.count >= Self.fingerprintDigitsMin else { return false }
        return Self.hexadecimal(identity.fingerprint).starts(with: self.text.map { $0 | 0x20 })
    }

    /// The address with its port, or without.
    private func isHost(of address: [UInt8]) -> Bool {
        guard address.starts(with: self.text) else { return false }
        return address.count == self.text.count || address[self.text.count] == UInt8(ascii: ":")
    }

    public static func hexadecimal(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
