import TestSupport
import Testing

@testable import Common

@Suite struct BanTests {
    private func address(_ text: String) throws -> ListenAddress {
        ListenAddress(bytes: try #require(ListenAddress.numeric(text)), port: 1883)
    }

    private func identity(
        commonName: String? = "dev-1",
        serial: String = "0A1B",
        fingerprint: [UInt8] = [UInt8](repeating: 7, count: 32)
    ) -> CertificateIdentity {
        CertificateIdentity(
            commonName: commonName.map { Array($0.utf8) },
            subject: [],
            issuer: [],
            serialNumber: Array(serial.utf8),
            fingerprint: fingerprint,
            notAfter: 0
        )
    }

    private func list(_ text: String) throws -> BanList { try BanList.parse(Array(text.utf8), file: "bans") }

    @Test("Each kind bans what it names and nothing else")
    func kinds() throws {
        let fingerprint = String(repeating: "0c:", count: 31) + "0C"
        let list = try self.list(
            """
            # stolen
            cn "two words"
            serial a:1b
            fingerprint \(fingerprint)
            client_id probe

            address 192.0.2.0/24
              address 2001:db8::/32
            address 198.51.100.7 until=2026-12-24T00:00:00Z reason="port scan"
            """
        )
        #expect(list.count == 7)
        #expect(list.ban(of: self.identity(commonName: "two words", serial: "FF"), now: 0) != nil)
        #expect(list.ban(of: self.identity(commonName: "two", serial: "FF"), now: 0) == nil)
        #expect(list.ban(of: self.identity(serial: "0A1B"), now: 0)?.kind == .serialNumber)
        let other = self.identity(commonName: nil, serial: "0A1C", fingerprint: [UInt8](repeating: 12, count: 32))
        #expect(list.ban(of: other, now: 0)?.kind == .fingerprint)
        #expect(list.ban(ofClientIdentifier: Array("probe".utf8), now: 0) != nil)
        #expect(list.ban(ofClientIdentifier: Array("probe2".utf8), now: 0) == nil)
        #expect(list.ban(of: try self.address("192.0.2.200"), now: 0) != nil)
        #expect(list.ban(of: try self.address("::ffff:192.0.2.200"), now: 0) != nil)
        #expect(list.ban(of: try self.address("192.0.3.1"), now: 0) == nil)
        #expect(list.ban(of: try self.address("2001:db8:1::1"), now: 0) != nil)
        #expect(list.ban(of: try self.address("2001:db9::1"), now: 0) == nil)
        let end = try Ban.seconds("2026-12-24T00:00:00Z")
        #expect(list.ban(of: try self.address("198.51.100.7"), now: end - 1)?.reason == "port scan")
        #expect(list.ban(of: try self.address("198.51.100.7"), now: end) == nil)
    }

    @Test(
        "A broken line is named with what is wrong",
        arguments: [
            ("cn", "a ban has a kind and a value, such as: cn dev-17"),
            ("name x", "\"name\" cannot be banned; there are: cn, serial, fingerprint, client_id, address"),
            ("serial 0x1", "\"0x1\" is not a serial number in hexadecimal digits"),
            ("fingerprint ab", "\"ab\" is not a SHA-256 fingerprint: 64 hexadecimal digits"),
            ("address 10.1.2.3/8", "\"10.1.2.3/8\" is an address in the range 10.0.0.0/8; write one or the other"),
            ("address 10.1.2", "\"10.1.2\" is neither an IP address nor a range such as 192.0.2.0/24"),
            ("address ::/129", "\"::/129\" is not a range: behind the slash is a number from 0 to 128"),
            ("cn x until=tomorrow", "\"tomorrow\" is not a time such as 2026-12-24T18:00:00Z, in UTC"),
            ("cn x until=2026-02-31", "\"2026-02-31\" is not a time such as 2026-12-24T18:00:00Z, in UTC"),
            ("cn x forever", "\"forever\" is neither until=TIME nor reason=TEXT"),
            ("cn \"x", "the quote has no end (at character 4)"),
            ("cn \"\"", "the value is empty"),
        ]
    )
    func mistakes(line: String, message: String) {
        do throws(BanList.Problem) {
            _ = try BanList.parse(Array("# first\n\(line)\n".utf8), file: "/etc/martlet/bans")
            Issue.record("\(line) was taken")
        } catch {
            #expect(error.description == "/etc/martlet/bans:2: \(message)")
        }
    }

    /// It was taken, and banned nobody: certificates and client ids are UTF-8.
    @Test("Regression: a name in another encoding is a mistake; comments and reasons may be in any")
    func otherEncodings() throws {
        for line in [Array("cn M".utf8) + [0xFC] + Array("ller".utf8), Array(#"client_id "M\xfcller""#.utf8)] {
            let problem = #expect(throws: BanList.Problem.self) {
                try BanList.parse(Array("# first\n".utf8) + line, file: "bans")
            }
            #expect(problem?.description == "bans:2: the value is not UTF-8")
        }
        let harmless = Array("# K".utf8) + [0xF6] + Array("ln\ncn a reason=K".utf8) + [0xF6] + Array("ln\n".utf8)
        #expect(try BanList.parse(harmless, file: "bans").count == 1)
        #expect(try self.list(#"cn "M\xc3\xbcller""#).bans == self.list("cn Müller").bans)
    }

    @Test("Of two bans of one subject the longer one counts")
    func twice() throws {
        let text = "cn a until=2030-01-01\ncn a until=2031-01-01\ncn a until=2029-01-01\n"
        let list = try self.list(text)
        #expect(list.count == 1)
        #expect(list.bans.first?.until == (try Ban.seconds("2031-01-01")))
        #expect(try self.list(text + "cn a\n").bans.first?.until == nil)
        #expect(try self.list("cn a\n" + text).bans.first?.until == nil)
    }

    @Test("What is written is read as the same, whatever is in it")
    func lines() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                UInt8.random(in: 0x01...0x7E, using: &random)
            }
            let until: Int64? = Bool.random(using: &random) ? Int64.random(in: 0...4_000_000_000, using: &random) : nil
            let reason = String(decoding: bytes.reversed(), as: UTF8.self)
            let ban = Ban(.commonName(bytes), until: until, reason: Bool.random(using: &random) ? reason : "")
            #expect(try Ban.parse(Array(ban.line.utf8)) == ban, "seed \(seed): \(ban.line)")
        }
    }

    /// The first was on two lines of what `martlet ban` said, the second was written as bytes.
    @Test(arguments: [
        ("x\ny", "cn x\\u{a}y", "cn \"x\\x0ay\" reason=\"x\\x0ay\""),
        ("Köln 東", "cn Köln 東", "cn \"Köln 東\" reason=\"Köln 東\""),
        ("Köln", "cn Köln", "cn Köln reason=Köln"),
        ("a\u{202E}b", "cn a\\u{202e}b", "cn \"a\\xe2\\x80\\xaeb\" reason=\"a\\xe2\\x80\\xaeb\""),
        ("\u{85}\"\\", "cn \\u{85}\"\\", "cn \"\\xc2\\x85\\\"\\\\\" reason=\"\\xc2\\x85\\\"\\\\\""),
    ])
    func `regression: names and reasons show as they are, on one line`(
        _ text: String,
        _ title: String,
        _ line: String
    ) throws {
        let ban = Ban(.commonName(Array(text.utf8)), reason: text)
        #expect(ban.title == title)
        #expect(ban.line == line)
        #expect(try Ban.parse(Array(ban.line.utf8)) == ban)
    }

    @Test("Ranges of addresses, against comparing bit by bit")
    func ranges() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let isVersion4 = Bool.random(using: &random)
            let count = isVersion4 ? 4 : 16
            func any() -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...3, using: &random) } }
            let ranges = (0..<4).map { _ in
                AddressRange(around: any(), prefixBits: Int.random(in: 0...count * 8, using: &random))
            }
            let list = BanList(ranges.map { Ban(.address($0)) })
            for _ in 0..<20 {
                let bytes = any()
                let bits = bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
                let isIn = ranges.contains { range in
                    let other = range.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
                    return bits.prefix(range.prefixBits) == other.prefix(range.prefixBits)
                }
                let found = list.ban(of: ListenAddress(bytes: bytes, port: 1), now: 0) != nil
                #expect(found == isIn, "seed \(seed): \(bytes) \(ranges)")
            }
        }
    }
}
