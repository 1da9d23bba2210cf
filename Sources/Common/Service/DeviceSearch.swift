/// What an operator calls a device: its common name, client id, user name, its certificate's serial number or the beginning of its
/// fingerprint, or its address.
public struct DeviceSearch {
    private let text: [UInt8]
    /// As hexadecimal digits in small letters, if it is some.
    private let digits: [UInt8]
    private static let fingerprintDigitsMin = 8

    public init(_ text: String) {
        self.text = Array(text.utf8)
        self.digits = self.text.filter { $0 != UInt8(ascii: ":") }.map { $0 | 0x20 }
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
        return self.finds(serialNumber: identity.serialNumber, fingerprint: identity.fingerprint)
    }

    /// - Parameter serialNumber: in the form of `CertificateIdentity.serialNumber`.
    public func finds(serialNumber: [UInt8], fingerprint: [UInt8]) -> Bool {
        if !self.digits.isEmpty, serialNumber.map({ $0 | 0x20 }) == self.digits { return true }
        guard self.digits.count >= Self.fingerprintDigitsMin else { return false }
        return Self.hexadecimal(fingerprint).starts(with: self.digits)
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
