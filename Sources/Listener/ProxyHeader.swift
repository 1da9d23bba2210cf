import Common

/// What a load balancer says in front of a connection about where it comes from: the PROXY protocol, versions 1 and 2
/// (its specification is haproxy's doc/proxy-protocol.txt).
enum ProxyHeader: Equatable {
    /// Everything up to now belongs to the header, which goes on.
    case needMore
    /// - bytes: how long it is.
    /// - source: nil: the balancer's own connection (a health check), or one that it knows nothing of.
    case complete(bytes: Int, source: ListenAddress?)
    case malformed(String)

    /// A header with more than some type-length-values is none that a balancer sends.
    static let bytesMax = 4096
    /// With the line end.
    private static let version1BytesMax = 107
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
    private static let prefix = Array("PROXY ".utf8)

    static func decode(_ bytes: ArraySlice<UInt8>) -> ProxyHeader {
        guard let first = bytes.first else { return .needMore }
        if first == Self.signature[0] { return Self.decodeVersion2(bytes) }
        if first == Self.prefix[0] { return Self.decodeVersion1(bytes) }
        return .malformed("there is no PROXY header")
    }

    // MARK: Version 2

    private static func decodeVersion2(_ bytes: ArraySlice<UInt8>) -> ProxyHeader {
        let start = bytes.startIndex
        guard bytes.prefix(12).elementsEqual(Self.signature.prefix(min(12, bytes.count))) else {
            return .malformed("there is no PROXY header")
        }
        guard bytes.count >= 16 else { return .needMore }
        let command = bytes[start + 12]
        guard command == 0x20 || command == 0x21 else {
            return .malformed("PROXY header of an unknown version or command")
        }
        let length = Int(bytes[start + 14]) << 8 | Int(bytes[start + 15])
        guard 16 + length <= Self.bytesMax else { return .malformed("PROXY header too long") }
        guard bytes.count >= 16 + length else { return .needMore }
        let total = 16 + length
        // LOCAL: the balancer speaks for itself.
        if command == 0x20 { return .complete(bytes: total, source: nil) }
        let body = bytes[(start + 16)..<(start + total)]
        switch bytes[start + 13] {
        case 0x11: return Self.address(body, addressBytes: 4, total)
        case 0x21: return Self.address(body, addressBytes: 16, total)
        // Of another family or transport: to be taken as unknown.
        default: return .complete(bytes: total, source: nil)
        }
    }

    private static func address(_ body: ArraySlice<UInt8>, addressBytes: Int, _ total: Int) -> ProxyHeader {
        guard body.count >= 2 * addressBytes + 4 else { return .malformed("PROXY header with an incomplete address") }
        let source = Array(body.prefix(addressBytes))
        let place = body.startIndex + 2 * addressBytes
        let port = UInt16(body[place]) << 8 | UInt16(body[place + 1])
        return .complete(bytes: total, source: ListenAddress(bytes: source, port: port))
    }

    // MARK: Version 1

    private static func decodeVersion1(_ bytes: ArraySlice<UInt8>) -> ProxyHeader {
        guard bytes.prefix(6).elementsEqual(Self.prefix.prefix(min(6, bytes.count))) else {
            return .malformed("there is no PROXY header")
        }
        let line = bytes.prefix(Self.version1BytesMax)
        guard let end = line.firstIndex(of: 0x0A) else {
            return line.count == Self.version1BytesMax ? .malformed("PROXY header without an end") : .needMore
        }
        guard end > bytes.startIndex, bytes[end - 1] == 0x0D else {
            return .malformed("PROXY header with a broken end")
        }
        let total = end + 1 - bytes.startIndex
        let words = bytes[bytes.startIndex..<(end - 1)].split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count >= 2 else { return .malformed("PROXY header without a family") }
        let family = String(decoding: words[1], as: UTF8.self)
        if family == "UNKNOWN" { return .complete(bytes: total, source: nil) }
        guard family == "TCP4" || family == "TCP6", words.count == 6 else {
            return .malformed("PROXY header of an unknown family")
        }
        let addresses = words[2...3].map { word in
            ListenAddress.numeric(String(decoding: word, as: UTF8.self), isIPv6: family == "TCP6")
        }
        guard let source = addresses[0], addresses[1] != nil, let port = Self.port(words[4]), Self.port(words[5]) != nil
        else { return .malformed("PROXY header with a broken address") }
        return .complete(bytes: total, source: ListenAddress(bytes: source, port: port))
    }

    private static func port(_ text: ArraySlice<UInt8>) -> UInt16? {
        guard !text.isEmpty, text.count <= 5, text.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
        return UInt16(exactly: text.reduce(0) { $0 * 10 + Int($1 - 0x30) })
    }
}
