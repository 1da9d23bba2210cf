/// Which placeholders the templates of the configuration may hold. What they become is authentication's business.
enum Placeholders {
    private static let names = [
        "username", "clientid", "cert_common_name", "cert_subject", "cert_san.dns", "cert_san.ip", "cert_san.email",
        "cert_san.uri", "cert_serial", "cert_fingerprint", "peerhost", "$",
    ]

    /// What is wrong with the `${…}` of a template; nil when nothing is.
    static func mistake(in template: String) -> String? {
        var rest = Array(template.utf8)[...]
        while let dollar = rest.firstIndex(of: UInt8(ascii: "$")) {
            rest = rest[(dollar + 1)...]
            guard rest.first == UInt8(ascii: "{") else { continue }
            guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else { return "a ${ is not closed by }" }
            let name = String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
            guard Self.names.contains(where: { $0.hasSameBytes(as: name) }) else {
                let known = Self.names.dropLast().map { "${\($0)}" }
                let hint = ConfigurationText.nearest(to: name, among: Self.names).map { "did you mean ${\($0)}?" }
                return "${\(ConfigurationText.shown(name))} is not a placeholder; "
                    + (hint ?? "there are \(known.joined(separator: ", "))")
            }
        }
        return nil
    }

    /// The first placeholder that only a client certificate fills.
    static func ofCertificate(in template: String) -> String? {
        let bytes = Array(template.utf8)
        for (index, byte) in bytes.enumerated() {
            let rest = bytes[(index + 1)...]
            if byte == UInt8(ascii: "%"), let next = rest.first {
                if next == UInt8(ascii: "C") || next == UInt8(ascii: "d") {
                    return String(decoding: [byte, next], as: UTF8.self)
                }
            }
            if byte == UInt8(ascii: "$"), rest.starts(with: "{cert_".utf8),
                let end = rest.firstIndex(of: UInt8(ascii: "}"))
            {
                return String(decoding: bytes[index...end], as: UTF8.self)
            }
        }
        return nil
    }
}
