import Glibc

/// Somebody who is not let in, whatever else speaks for him: one line of the file of bans.
///
/// ```
/// cn dev-17 until=2026-12-24T00:00:00Z reason="stolen in Kiel"
/// address 192.0.2.0/24
/// ```
public struct Ban: Equatable, Sendable {
    /// What a ban looks at.
    public enum Kind: String, Sendable, CaseIterable {
        /// The certificate's common name, all of it.
        case commonName = "cn"
        /// The certificate's serial number, whoever issued it; hexadecimal digits.
        case serialNumber = "serial"
        /// The certificate's SHA-256; hexadecimal digits, with or without colons.
        case fingerprint = "fingerprint"
        /// The client id that the session has.
        case clientIdentifier = "client_id"
        /// An IP address, or a range of them.
        case address = "address"
    }

    /// What the kind is compared with.
    public enum Subject: Hashable, Sendable {
        case commonName([UInt8])
        /// In the form of `CertificateIdentity.serialNumber`.
        case serialNumber([UInt8])
        case fingerprint([UInt8])
        case clientIdentifier([UInt8])
        case address(AddressRange)
    }

    public var subject: Subject
    /// Seconds since 1970 at which the ban ends; nil: never.
    public var until: Int64?
    /// For people.
    public var reason: String

    public init(_ subject: Subject, until: Int64? = nil, reason: String = "") {
        self.subject = subject
        self.until = until
        self.reason = reason
    }

    public func isInForce(at seconds: Int64) -> Bool {
        self.until.map { seconds < $0 } ?? true
    }

    /// What is compared, as a person writes it: `cn dev-17`.
    public var title: String { "\(self.kind.rawValue) \(ReadableText.escaped(self.value))" }

    public var kind: Kind {
        switch self.subject {
        case .commonName: .commonName
        case .serialNumber: .serialNumber
        case .fingerprint: .fingerprint
        case .clientIdentifier: .clientIdentifier
        case .address: .address
        }
    }

    public var value: String {
        switch self.subject {
        case .commonName(let bytes), .serialNumber(let bytes), .clientIdentifier(let bytes):
            String(decoding: bytes, as: UTF8.self)
        case .fingerprint(let bytes):
            String(decoding: DeviceSearch.hexadecimal(bytes), as: UTF8.self)
        case .address(let range):
            range.description
        }
    }

    // MARK: Lines

    /// The line of the file that says this.
    public var line: String {
        var words = [self.kind.rawValue, Self.quoted(self.value)]
        if let until = self.until { words.append("until=\(Self.timestamp(until))") }
        if !self.reason.isEmpty { words.append("reason=\(Self.quoted(self.reason))") }
        return words.joined(separator: " ")
    }

    /// - Parameter line: without its line end.
    /// - Returns: nil for lines without a ban: empty ones and comments.
    /// - Throws: what is wrong with it, as a sentence.
    public static func parse(_ line: [UInt8]) throws(ValueError) -> Ban? {
        let words: [[UInt8]]
        do throws(TemplateError) {
            let start = line.first { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") && $0 != UInt8(ascii: "\r") }
            guard let start, start != UInt8(ascii: "#") else { return nil }
            words = try CommandLineSplitter.split(line).map(\.bytes)
        } catch {
            throw ValueError("\(error.reason) (at character \(error.position))")
        }
        guard words.count >= 2 else { throw ValueError("a ban has a kind and a value, such as: cn dev-17") }
        var ban = Ban(try Self.subject(kind: Self.text(words[0]), value: words[1]))
        for word in words.dropFirst(2) {
            let text = Self.text(word)
            if text.hasPrefix("until=") {
                ban.until = try Self.seconds(String(text.dropFirst(6)))
            } else if text.hasPrefix("reason=") {
                ban.reason = String(text.dropFirst(7))
            } else {
                throw ValueError("\"\(ConfigurationText.shown(text))\" is neither until=TIME nor reason=TEXT")
            }
        }
        return ban
    }

    /// - Throws: what is wrong, as a sentence.
    public static func subject(kind: String, value: [UInt8]) throws(ValueError) -> Subject {
        guard let kind = Kind(rawValue: kind) else {
            let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValueError("\"\(ConfigurationText.shown(kind))\" cannot be banned; there are: \(known)")
        }
        guard !value.isEmpty else { throw ValueError("the value is empty") }
        // Nobody has such a name: certificates and CONNECT packets with one are refused.
        guard String(validating: value, as: UTF8.self) != nil else { throw ValueError("the value is not UTF-8") }
        let shown = ConfigurationText.shown(Self.text(value))
        switch kind {
        case .commonName: return .commonName(value)
        case .clientIdentifier: return .clientIdentifier(value)
        case .serialNumber:
            guard let digits = Self.hexadecimalDigits(value) else {
                throw ValueError("\"\(shown)\" is not a serial number in hexadecimal digits")
            }
            return .serialNumber(Self.wholeBytes(digits))
        case .fingerprint:
            guard let digits = Self.hexadecimalDigits(value), digits.count == 64 else {
                throw ValueError("\"\(shown)\" is not a SHA-256 fingerprint: 64 hexadecimal digits")
            }
            return .fingerprint(Self.bytes(digits))
        case .address:
            return .address(try AddressRange(Self.text(value)))
        }
    }

    // MARK: Values

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    /// In capitals, without colons; nil when there is anything else.
    private static func hexadecimalDigits(_ value: [UInt8]) -> [UInt8]? {
        var digits: [UInt8] = []
        for byte in value where byte != UInt8(ascii: ":") {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "F"): digits.append(byte)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digits.append(byte - 0x20)
            default: return nil
            }
        }
        return digits.isEmpty ? nil : digits
    }

    /// Two digits for each byte, and no byte more than the number has.
    private static func wholeBytes(_ digits: [UInt8]) -> [UInt8] {
        let significant = Array(digits.drop { $0 == UInt8(ascii: "0") })
        if significant.isEmpty { return Array("00".utf8) }
        return significant.count.isMultiple(of: 2) ? significant : [UInt8(ascii: "0")] + significant
    }

    private static func bytes(_ digits: [UInt8]) -> [UInt8] {
        func value(_ digit: UInt8) -> UInt8 { digit <= UInt8(ascii: "9") ? digit - 0x30 : digit - 0x37 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { value(digits[$0]) << 4 | value(digits[$0 + 1]) }
    }

    /// As `CommandLineSplitter` reads it; what does not show is written as its bytes.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.unicodeScalars.allSatisfy {
            !ReadableText.isHidden($0) && !" \"'\\#".unicodeScalars.contains($0)
        }
        guard !isPlain || text.isEmpty else { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if ReadableText.isHidden(scalar) {
                for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                    quoted += "\\x" + String(decoding: DeviceSearch.hexadecimal([byte]), as: UTF8.self)
                }
                continue
            }
            if scalar == "\"" || scalar == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }

    /// RFC 3339, in UTC.
    public static func timestamp(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let date = "\(Int(parts.tm_year) + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        return "\(date)T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }

    /// The reverse; a date alone means its beginning.
    public static func seconds(_ text: String) throws(ValueError) -> Int64 {
        let shape = "0000-00-00T00:00:00Z".utf8
        let bytes = Array((text.utf8.count == 10 ? "\(text)T00:00:00Z" : text).utf8)
        let isShaped =
            bytes.count == shape.count
            && zip(bytes, shape).allSatisfy { $1 == 0x30 ? (0x30...0x39).contains($0) : $0 == $1 }
        if isShaped {
            func number(_ range: Range<Int>) -> Int32 { bytes[range].reduce(0) { $0 * 10 + Int32($1 - 0x30) } }
            var parts = tm()
            (parts.tm_year, parts.tm_mon, parts.tm_mday) = (number(0..<4) - 1900, number(5..<7) - 1, number(8..<10))
            (parts.tm_hour, parts.tm_min, parts.tm_sec) = (number(11..<13), number(14..<16), number(17..<19))
            let seconds = Int64(timegm(&parts))
            // The 31st of February becomes another day, which nobody meant.
            if Self.timestamp(seconds).utf8.elementsEqual(bytes) { return seconds }
        }
        throw ValueError("\"\(ConfigurationText.shown(text))\" is not a time such as 2026-12-24T18:00:00Z, in UTC")
    }
}
