import Common
import TestSupport
import Testing

@testable import Listener

/// Headers as the specification and balancers write them, at every split, and everything else.
@Suite struct ProxyHeaderTests {
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    private static func version2(_ command: UInt8, _ family: UInt8, _ body: [UInt8]) -> [UInt8] {
        Self.signature + [command, family, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
    }

    private static let ports: [UInt8] = [0x9C, 0x40, 0x22, 0xB3]
    private static let ipv6 = (0..<16).map { UInt8($0 == 0 ? 0x20 : $0 == 15 ? 1 : 0) }

    /// Header and source.
    private static let good: [(header: [UInt8], source: ListenAddress?)] = [
        (
            Array("PROXY TCP4 192.0.2.7 10.0.0.1 40000 8883\r\n".utf8),
            ListenAddress(bytes: [192, 0, 2, 7], port: 40_000)
        ),
        (Array("PROXY TCP6 2000::1 ::1 40000 8883\r\n".utf8), ListenAddress(bytes: Self.ipv6, port: 40_000)),
        (Array("PROXY UNKNOWN\r\n".utf8), nil),
        (Array("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".utf8), nil),
        (
            Self.version2(0x21, 0x11, [192, 0, 2, 7, 10, 0, 0, 1] + Self.ports),
            ListenAddress(bytes: [192, 0, 2, 7], port: 40_000)
        ),
        (
            Self.version2(0x21, 0x21, Self.ipv6 + Self.ipv6 + Self.ports),
            ListenAddress(bytes: Self.ipv6, port: 40_000)
        ),
        // With type-length-values behind the addresses.
        (
            Self.version2(0x21, 0x11, [192, 0, 2, 7, 10, 0, 0, 1] + Self.ports + [0x02, 0x00, 0x03, 1, 2, 3]),
            ListenAddress(bytes: [192, 0, 2, 7], port: 40_000)
        ),
        // A health check of the balancer itself, and a Unix socket.
        (Self.version2(0x20, 0x00, []), nil),
        (Self.version2(0x21, 0x31, [UInt8](repeating: 7, count: 216)), nil),
    ]

    @Test(arguments: 0..<9) func goodHeadersAreTakenAtEverySplit(_ index: Int) {
        let (header, source) = Self.good[index]
        for length in 0..<header.count { #expect(ProxyHeader.decode(header[..<length]) == .needMore, "\(length)") }
        for rest in [[], [0x16, 3, 1], [UInt8](repeating: 0x0A, count: 500)] {
            let bytes = header + rest
            #expect(ProxyHeader.decode(bytes[...]) == .complete(bytes: header.count, source: source))
        }
        // Not from the beginning of an array.
        let shifted = [9, 9, 9] + header
        #expect(ProxyHeader.decode(shifted[3...]) == .complete(bytes: header.count, source: source))
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 40000 8883\n",
        "PROXY TCP4 192.0.2.777 10.0.0.1 40000 8883\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 70000 8883\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 40000 8883\r\n", "PROXY TCP4  192.0.2.7 10.0.0.1 40000 8883\r\n", "PROXY\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 40000 8883\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 -1 8883\r\n", "\u{10}\u{26}",
        "\r\n\r\n\u{0}\r\nQUIX",
    ]) func othersAreNot(_ text: String) {
        guard case .malformed = ProxyHeader.decode(Array(text.utf8)[...]) else {
            Issue.record("taken: \(text)")
            return
        }
    }

    @Test func headersAreBounded() {
        #expect(
            ProxyHeader.decode((Array("PROXY ".utf8) + [UInt8](repeating: 0x41, count: 101))[...])
                == .malformed("PROXY header without an end")
        )
        let long = Self.version2(0x21, 0x11, [UInt8](repeating: 1, count: ProxyHeader.bytesMax))
        #expect(ProxyHeader.decode(long[..<16]) == .malformed("PROXY header too long"))
        #expect(
            ProxyHeader.decode(Self.version2(0x21, 0x11, [1, 2, 3])[...])
                == .malformed("PROXY header with an incomplete address")
        )
    }

    @Test func randomBytesNeverCrashAndNeverTakeMoreThanIsThere() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<20_000 {
            var bytes = Self.good[Int.random(in: 0..<Self.good.count, using: &random)].header
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            if case .complete(let count, _) = ProxyHeader.decode(bytes[...]) {
                #expect(count <= bytes.count, "seed \(seed)")
            }
        }
    }

    private static func address(_ bytes: [UInt8]) -> ListenAddress { ListenAddress(bytes: bytes, port: 4711) }

    @Test func rangesOfAddresses() throws {
        let ten = try AddressRange("10.0.0.0/8")
        #expect(ten.contains(Self.address([10, 1, 2, 3])) && !ten.contains(Self.address([11, 0, 0, 1])))
        #expect(ten.contains(Self.address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 9, 8, 7])))
        let one = try AddressRange("192.0.2.7")
        #expect(one.contains(Self.address([192, 0, 2, 7])) && !one.contains(Self.address([192, 0, 2, 8])))
        let mapped = try AddressRange("::ffff:192.0.2.0/120")
        #expect(mapped == (try AddressRange("192.0.2.0/24")) && mapped.contains(Self.address([192, 0, 2, 8])))
        #expect(try AddressRange("::ffff:192.0.2.7") == AddressRange("192.0.2.7"))
        let six = try AddressRange("2001:db8::/33")
        #expect(six.contains(Self.address([0x20, 1, 0x0D, 0xB8, 0x7F] + [UInt8](repeating: 1, count: 11))))
        #expect(!six.contains(Self.address([0x20, 1, 0x0D, 0xB8, 0x80] + [UInt8](repeating: 1, count: 11))))
        #expect(try AddressRange("0.0.0.0/0").contains(Self.address([1, 2, 3, 4])))
        for text in [
            "", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "host", "10.0.0.0/-1", "10.0.0.0/", "::1/129", "10.0.0.0/8/9",
        ] {
            #expect(throws: ValueError.self, "\(text)") { try AddressRange(text) }
        }
    }
}
