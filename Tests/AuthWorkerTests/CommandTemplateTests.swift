import AuthWorker
import Common
import TestSupport
import Testing

@Suite struct CommandLineSplitterTests {
    private func split(_ line: String) throws -> [String] {
        try CommandLineSplitter.split(Array(line.utf8)).map { String(decoding: $0.bytes, as: UTF8.self) }
    }

    @Test(arguments: [
        ("HMGET key a b", ["HMGET", "key", "a", "b"]),
        ("  HMGET\tkey \n a ", ["HMGET", "key", "a"]),
        ("", []),
        ("   ", []),
        (#"HGET "a key" field"#, ["HGET", "a key", "field"]),
        (#"HGET 'a key' field"#, ["HGET", "a key", "field"]),
        (#"a "\x41\x7a\n\r\t\"\\" b"#, ["a", "Az\n\r\t\"\\", "b"]),
        (#"a "\xZZ" b"#, ["a", "xZZ", "b"]),
        (#"a 'it\'s' b"#, ["a", "it's", "b"]),
        (#"a 'no \n escape' b"#, ["a", #"no \n escape"#, "b"]),
        (#"a "" '' b"#, ["a", "", "", "b"]),
        (#"pre"fix" b"#, ["prefix", "b"]),
        (#"back\slash"#, [#"back\slash"#]),
    ])
    func splitsAsRedisCLIDoes(_ line: String, _ expected: [String]) throws {
        #expect(try self.split(line) == expected)
    }

    @Test(arguments: [
        (#"a "b"#, "the quote has no end", 3),
        (#"a 'b"#, "the quote has no end", 3),
        (#"a "b\"#, "the quote has no end", 3),
        (#"a "b"c d"#, "after a closing quote there must be a space", 6),
        (#"a 'b'"c""#, "after a closing quote there must be a space", 6),
    ])
    func refusesBrokenQuotes(_ line: String, _ reason: String, _ position: Int) {
        #expect(throws: TemplateError(reason: reason, position: position)) { try self.split(line) }
    }

    @Test func whatWasQuotedComesBack() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let arguments = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                random.bytes(Int.random(in: 0...12, using: &random))
            }
            var line: [UInt8] = []
            for argument in arguments {
                line += random.oneIn(2) ? [0x20] : [0x09, 0x20]
                line += Self.quoted(argument, &random)
            }
            #expect(try CommandLineSplitter.split(line).map(\.bytes) == arguments, "seed \(seed)")
        }
    }

    @Test func positionsPointIntoTheLine() throws {
        let line = Array(#"  HGET "a\x25u" b"#.utf8)
        let arguments = try CommandLineSplitter.split(line)
        #expect(arguments[1].positions == [8, 9, 13])
        #expect(arguments.allSatisfy { $0.bytes.count == $0.positions.count })
    }

    private static func quoted(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = [UInt8(ascii: "\"")]
        for byte in bytes {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                text += [UInt8(ascii: "\\"), byte]
            } else if random.oneIn(3) {
                text += Array(#"\x"#.utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            } else {
                text.append(byte)
            }
        }
        return text + [UInt8(ascii: "\"")]
    }
}

@Suite struct CommandTemplateTests {
    private static let client = ClientAttributes(
        clientIdentifier: Array("the client".utf8),
        userName: Array("%C".utf8),
        peerAddress: Array("[2001:db8::7]:40000".utf8),
        identity: CertificateIdentity(
            commonName: Array("346a004d".utf8),
            subject: Array(#"CN=346a004d,O=EMQ Technologies Co.\, Ltd,C=CN"#.utf8),
            issuer: [],
            serialNumber: Array("0A1B".utf8),
            fingerprint: [UInt8](repeating: 0xAB, count: 32),
            alternativeNames: [
                .init(kind: .uri, value: Array("urn:x".utf8)), .init(kind: .dns, value: Array("d.example".utf8)),
            ],
            notAfter: 0
        )
    )

    /// A change of any of a command's keys is one of the row.
    @Test(arguments: [
        ("SINTER dev:%C enabled", "dev:346a004d", ["enabled"], ["dev:", "enabled"]),
        ("MGET pw:%C on:%C", "pw:346a004d", ["on:346a004d"], ["pw:", "on:"]),
        ("MGET pw:%C pw:%C", "pw:346a004d", [], ["pw:", "pw:"]),
        (#"EVAL_RO "return 1" 2 k:%C on:%C argument"#, "k:346a004d", ["on:346a004d"], ["k:", "on:"]),
        (#"EVAL_RO "return 1" 1 k:%C argument"#, "k:346a004d", [], ["k:"]),
        ("HMGET k:%C password", "k:346a004d", [], ["k:"]),
    ])
    func knowsAllKeys(_ line: String, _ key: String, _ further: [String], _ prefixes: [String]) throws {
        let set = CommandSet(row: try CommandTemplate(line, purpose: .existence))
        let rendered = try set.render(Self.client)
        #expect(rendered.key.redisKey == Array(key.utf8))
        #expect(rendered.key.relatedKeys == further.map { Array($0.utf8) })
        #expect(set.keyPrefixes == prefixes.map { Array($0.utf8) })
        #expect(set.hasRelatedKeys == (prefixes.count > 1))
        #expect(!set.hasOneKeyPerRedisKey || prefixes.count == 1)
    }

    @Test(arguments: [
        #"EVAL_RO "return 1" 0 k:%C"#, #"EVAL_RO "return 1" 2 k:%C"#, #"EVAL_RO "return 1" x k:%C"#,
        #"EVAL_RO "return 1" %C k:%C"#,
    ])
    func refusesAScriptWithAnotherNumberOfKeys(_ line: String) throws {
        #expect(throws: ConfigurationMistake.self) { try CommandTemplate(line, purpose: .existence) }
    }

    @Test(arguments: [
        ("HMGET tls_domain:%C password", ["HMGET", "tls_domain:346a004d", "password"]),
        ("hget k:${cert_common_name} password", ["HGET", "k:346a004d", "password"]),
        // One argument in spite of its spaces.
        (
            "HMGET tls_subject:%d password",
            ["HMGET", #"tls_subject:CN=346a004d,O=EMQ Technologies Co.\, Ltd,C=CN"#, "password"]
        ),
        ("GET ${clientid}", ["GET", "the client"]),
        // The user name is "%C": what was filled in is not looked at again.
        ("GET u:%u:%c", ["GET", "u:%C:the client"]),
        ("GET %u%%C${$}{clientid}", ["GET", "%C%C${clientid}"]),
        ("HGET devices %c", ["HGET", "devices", "the client"]),
        ("GET ${cert_serial}/${peerhost}", ["GET", "0A1B/2001:db8::7"]),
        ("GET ${cert_san.dns} ", ["GET", "d.example"]),
        ("GET ${cert_fingerprint}", ["GET", String(repeating: "ab", count: 32)]),
        ("GET 100%", nil),
    ])
    func rendersEitherDialect(_ command: String, _ expected: [String]?) throws {
        guard let expected else {
            #expect(throws: ConfigurationMistake.self) { try CommandTemplate(command) }
            return
        }
        let rendered = try CommandTemplate(command).render(Self.client)
        #expect(rendered.arguments.map { String(decoding: $0, as: UTF8.self) } == expected)
        #expect(rendered.key.redisKey == rendered.arguments[1])
    }

    @Test(arguments: [
        ("", "there is no command in it"),
        ("KEYS %C", "KEYS is not among the commands that can be used"),
        ("HGETALL %C", "HGETALL answers names between the values"),
        ("EXISTS %C", "EXISTS answers a number"),
        ("EVAL_RO script 1", "it names no key"),
        ("DEL %C", "DEL is not among the commands"),
        ("HMGET", "it names no key"),
        ("GET \"\"", "it names no key"),
        ("HMGET k:%C", "HMGET takes a key and at least one field"),
        ("HGET k:%C", "HGET takes a key and one field"),
        ("GET k:%C x", "GET takes a key and nothing else"),
        ("HMGET k:%C salt is_superuser", "none of its fields is a password"),
        ("HMGET k:%C password password", "a field is asked for twice"),
        ("HMGET devices password", "all devices would share one password"),
        ("HMGET k:%X password", "there is no placeholder %X"),
        ("HMGET k:${cert_cn} password", "there is no placeholder ${cert_cn}"),
        ("HMGET k:${clientid password", "no closing brace"),
        ("HMGET \"k:%C password", "the quote has no end (at character 7)"),
    ])
    func mistakesAreSentences(_ command: String, _ part: String) {
        let error = #expect(throws: ConfigurationMistake.self) { try CommandTemplate(command) }
        #expect(error?.description.hasPrefix("authentication.command \"") == true)
        #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    }

    @Test func accessRowsComeInPairs() throws {
        let mistake = #expect(throws: ConfigurationMistake.self) {
            try CommandTemplate("HMGET acl:%C filter", purpose: .access)
        }
        #expect(mistake?.reason.contains("pairs of a topic filter and an access") == true)
        _ = try CommandTemplate("HMGET acl:%C filter access", purpose: .access)
    }

    @Test func anErrorsPositionIsThatInTheCommand() {
        let error = #expect(throws: ConfigurationMistake.self) { try CommandTemplate(#"HGET "a b%x" f"#) }
        #expect(error?.description.hasSuffix("(at character 10)") == true, "\(error?.description ?? "")")
    }

    @Test(
        arguments: [
            ("HMGET k:%C password", [.secret]),
            ("HMGET k:%C a b c", [.secret, .salt, .ignored]),
            ("HMGET k:%C salt password_hash", [.salt, .secret]),
            ("HMGET k:%C is_superuser hash", [.isSuperuser, .secret]),
            ("HMGET k:%C password password_hash salt is_superuser", [.secretOtherwise, .secret, .salt, .isSuperuser]),
            ("HGET k:%C anything", [.secret]),
            ("HMGET k:%C PASSWORD Salt", [.secret, .salt]),
        ] as [(String, [CommandTemplate.Field])]
    )
    func fieldsMeanWhatEMQXMeans(_ command: String, _ fields: [CommandTemplate.Field]) throws {
        #expect(try CommandTemplate(command).fields == fields)
    }

    @Test func aMissingOrHostileValueMeansNoQuery() throws {
        let noCertificate = ClientAttributes(clientIdentifier: Array("c".utf8))
        #expect(throws: TemplateText.RenderFailure.missing(.commonName)) {
            try CommandTemplate("GET %C").render(noCertificate)
        }
        #expect(throws: TemplateText.RenderFailure.missing(.userName)) {
            try CommandTemplate("GET %u").render(noCertificate)
        }
        var empty = Self.client
        empty.userName = []
        #expect(throws: TemplateText.RenderFailure.missing(.userName)) { try CommandTemplate("GET k:%u").render(empty) }
        for hostile in [[0x61, 0x0D, 0x0A], [0x00], [0x7F], [0xC2, 0x85]] as [[UInt8]] {
            empty.userName = hostile
            #expect(throws: TemplateText.RenderFailure.notAllowed(.userName)) {
                try CommandTemplate("GET k:%u").render(empty)
            }
        }
    }

    @Test func clientsWithDifferentArgumentsHaveDifferentKeys() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let command = try CommandTemplate("HMGET k %u %c")
        var seen: [LookupKey: [[UInt8]]] = [:]
        for _ in 0..<2000 {
            func short() -> [UInt8] {
                (0..<Int.random(in: 1...3, using: &random)).map { _ in UInt8.random(in: 0x61...0x62, using: &random) }
            }
            let client = ClientAttributes(clientIdentifier: short(), userName: short())
            let rendered = try command.render(client)
            // However the values look, they do not change how many arguments there are.
            #expect(rendered.arguments.count == 4, "seed \(seed)")
            if let other = seen[rendered.key] { #expect(other == rendered.arguments, "seed \(seed)") }
            seen[rendered.key] = rendered.arguments
        }
    }

    @Test func renderingRandomValuesKeepsThemWhole() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let command = try CommandTemplate(#"HMGET "p %u|${clientid}" password"#)
        for _ in 0..<1000 {
            func value() -> [UInt8] {
                let pool = Array(#"ab %uCcd${}clientid"'\x"#.utf8)
                return (0..<Int.random(in: 1...8, using: &random)).compactMap { _ in pool.randomElement(using: &random)
                }
            }
            let (user, client) = (value(), value())
            let rendered = try command.render(ClientAttributes(clientIdentifier: client, userName: user))
            let expected = Array("p ".utf8) + user + [UInt8(ascii: "|")] + client
            #expect(rendered.arguments == [Array("HMGET".utf8), expected, Array("password".utf8)], "seed \(seed)")
        }
    }
}

@Suite struct ReplyInterpretationTests {
    private func bulk(_ text: String) -> RedisReply { .bulk(Array(text.utf8)) }

    @Test func onlyNilIsNegative() throws {
        let hmget = try CommandTemplate("HMGET k:%C password_hash salt is_superuser")
        #expect(hmget.interpret(.array([.null, .null, .null])) == .absent)
        #expect(try CommandTemplate("HGET k:%C password").interpret(.null) == .absent)
        #expect(try CommandTemplate("GET k:%C").interpret(.null) == .absent)
        let others: [RedisReply] = [
            .null, .array([]), .array([.null]), .array([.null, .null, .null, .null]), .integer(0),
            .status(Array("OK".utf8)),
            .error(Array("LOADING".utf8)), self.bulk("x"), .array([.integer(1), .null, .null]),
            .array([.array([]), .null, .null]), .array([.error(Array("ERR".utf8)), .null, .null]),
        ]
        for reply in others {
            guard case .unusable = hmget.interpret(reply) else {
                Issue.record("\(reply) was taken for \(hmget.interpret(reply))")
                continue
            }
        }
    }

    /// That was an error of Redis, and so was a long value that nobody looks at.
    @Test func `regression: a value that is too long is the row's fault`() throws {
        func reply(_ first: Int, _ second: Int) -> RedisReply {
            .array([.bulk([UInt8](repeating: 0x78, count: first)), .bulk([UInt8](repeating: 0x79, count: second))])
        }
        let command = try CommandTemplate("HMGET k:%C password salt")
        #expect(
            command.interpret(reply(4097, 1)) == .tooLong("value 1 of the row has 4097 bytes, at most 4096 are taken")
        )
        #expect(
            command.interpret(reply(1, 5000)) == .tooLong("value 2 of the row has 5000 bytes, at most 4096 are taken")
        )
        guard case .found = command.interpret(reply(4096, 4096)) else {
            Issue.record("4096 bytes are allowed")
            return
        }
        let ignored = try CommandTemplate("HMGET k:%C password clientid_override")
        #expect(
            ignored.interpret(reply(1, 5000)) == .found(CredentialReply(secret: [0x78])),
            "nobody looks at the second field"
        )
    }

    @Test func aSaltAloneIsNobodys() throws {
        let command = try CommandTemplate("MGET p:%C s:%C")
        #expect(command.interpret(.array([.null, self.bulk("s")])) == .absent)
        let found = LookupResult.found(CredentialReply(secret: Array("h".utf8), salt: Array("s".utf8)))
        #expect(command.interpret(.array([self.bulk("h"), self.bulk("s")])) == found)
    }

    /// It has a meaning in EMQX 6 and is no salt, wherever it stands.
    @Test func clientIdentifiersAreNoSalt() throws {
        let command = try CommandTemplate("HMGET k:%C password_hash clientid_override")
        #expect(!command.asksForSalt)
        let row = LookupResult.found(CredentialReply(secret: Array("h".utf8)))
        #expect(command.interpret(.array([self.bulk("h"), self.bulk("zz")])) == row)
    }

    @Test func fieldsAreFoundByMeaning() throws {
        let command = try CommandTemplate("HMGET k:%C password password_hash salt is_superuser")
        let all = command.interpret(.array([self.bulk("p"), self.bulk("h"), self.bulk("s"), self.bulk("1")]))
        #expect(all == .found(CredentialReply(secret: Array("h".utf8), salt: Array("s".utf8), isSuperuser: true)))
        let plain = command.interpret(.array([self.bulk("p"), .null, .null, .null]))
        #expect(plain == .found(CredentialReply(secret: Array("p".utf8))))
        let none = command.interpret(.array([.null, .null, self.bulk("s"), .null]))
        #expect(none == .found(CredentialReply(secret: nil, salt: Array("s".utf8))))
    }

    @Test(arguments: [
        ("1", true), ("true", true), ("2", true), ("10", true), ("007", true), ("+1", true), ("+", false),
        ("+0", false), ("++1", false),
        ("0", false), ("00", false), ("false", false), ("", false), ("True", false), ("-1", false), ("1x", false),
    ])
    func superuserAsInEMQX5(_ text: String, _ expected: Bool) throws {
        let command = try CommandTemplate("HMGET k:%C password is_superuser")
        guard case .found(let row) = command.interpret(.array([self.bulk("p"), self.bulk(text)])) else {
            Issue.record("not found")
            return
        }
        #expect(row.isSuperuser == expected)
    }

    /// That the row is there is all that is asked. A place in a set counts from 0, and a key that does not expire has -1 to live.
    @Test(
        arguments: [
            ("ZRANK fleet %C", .integer(0), true), ("ZRANK fleet %C", .integer(7), true),
            ("ZRANK fleet %C", .null, false),
            ("LPOS fleet %C", .integer(0), true), ("LPOS fleet %C", .null, false),
            ("TTL k:%C", .integer(-1), true), ("TTL k:%C", .integer(0), true), ("TTL k:%C", .integer(-2), false),
            ("EXISTS k:%C", .integer(0), false), ("EXISTS k:%C", .integer(1), true),
            ("SISMEMBER fleet %C", .integer(0), false), ("SISMEMBER fleet %C", .integer(1), true),
            ("SMISMEMBER fleet %C", .array([.integer(1)]), true), ("SMISMEMBER fleet %C", .array([.integer(0)]), false),
            ("SMISMEMBER fleet %C all", .array([.integer(1), .integer(0)]), false),
            ("SMISMEMBER fleet %C all", .array([.integer(1), .integer(1)]), true),
        ] as [(String, RedisReply, Bool)]
    )
    func existence(_ line: String, _ reply: RedisReply, _ isThere: Bool) throws {
        let command = try CommandTemplate(line, purpose: .existence)
        #expect(command.interpret(reply) == (isThere ? .found(CredentialReply(secret: nil)) : .absent))
    }

    /// GETRANGE answers "" where there is no key: with `password_hash: none` everybody got in, else everybody without a password.
    @Test(
        arguments: [
            ("GETRANGE k:%C 0 -1", .bulk([]), false), ("SUBSTR k:%C 0 -1", .bulk([]), false),
            (#"EVAL_RO "return ''" 1 k:%C"#, .bulk([]), false), ("EVALSHA_RO abc 1 k:%C", .array([.bulk([])]), false),
            ("FCALL_RO f 1 k:%C", .array([.bulk([]), .null]), false),
            ("GETRANGE k:%C 0 -1", .bulk([0x78]), true), ("FCALL_RO f 1 k:%C", .array([.bulk([0x78])]), true),
            // These have it only where it was written.
            ("GET k:%C", .bulk([]), true), ("HGET k:%C on", .bulk([]), true), ("LINDEX k:%C 0", .bulk([]), true),
            ("HMGET k:%C on", .array([.bulk([])]), true), ("ZRANGE k:%C 0 0", .array([.bulk([])]), true),
        ] as [(String, RedisReply, Bool)]
    )
    func `regression: an empty answer is no row where Redis gives it without one`(
        _ line: String,
        _ reply: RedisReply,
        _ isThere: Bool
    ) throws {
        let existence = try CommandTemplate(line, purpose: .existence).interpret(reply)
        #expect(existence == (isThere ? .found(CredentialReply(secret: nil)) : .absent))
        let credentials = try CommandTemplate(line.replacing(" on", with: " password"), purpose: .credentials)
        #expect((credentials.interpret(reply) == .absent) == !isThere)
    }

    /// It says 0 where there is no key.
    @Test func `regression: BITPOS is asked for set bits alone`() throws {
        _ = try CommandTemplate("BITPOS k:%C 1", purpose: .existence)
        for line in ["BITPOS k:%C 0", "BITPOS k:%C", "BITPOS k %C"] {
            let mistake = #expect(throws: ConfigurationMistake.self) { try CommandTemplate(line, purpose: .existence) }
            #expect(mistake?.reason.contains("BITPOS key 1") == true, "\(line)")
        }
    }

    /// EMQX 4's client makes text of what scripts answer as numbers; such a device was told "server unavailable".
    @Test func `regression: numbers in lists are text`() throws {
        let set = CommandSet(
            row: try CommandTemplate("EVAL_RO script 1 k:%C"),
            access: try CommandTemplate("EVAL_RO script 1 acl:%C", purpose: .access)
        )
        let access = RedisReply.array([self.bulk("e/1"), .integer(3), .integer(7), self.bulk("publish")])
        let row = CredentialReply(
            secret: Array("1234".utf8),
            salt: Array("-5".utf8),
            access: [("e/1", "3"), ("7", "publish")].map {
                AccessRow(filter: Array($0.0.utf8), access: Array($0.1.utf8))
            }
        )
        #expect(set.interpret([.array([.integer(1234), .integer(-5)]), access]) == .found(row))
        // Whether there is a row, a number in a list does not say.
        let existence = try CommandTemplate("EVAL_RO script 1 k:%C", purpose: .existence)
        guard case .unusable = existence.interpret(.array([.integer(0)])) else {
            Issue.record("taken for \(existence.interpret(.array([.integer(0)])))")
            return
        }
    }

    /// The documentation promised all that only read.
    @Test(arguments: ["ZUNION 1", "ZINTER 1", "ZDIFF 1", "SINTERCARD 1", "HSCAN", "XRANGE", "GEOHASH", "LCS"])
    func commandsThatAreRefusedAreDocumented(_ words: String) throws {
        #expect(throws: ConfigurationMistake.self) { try CommandTemplate("\(words) k:%C x y") }
        let documented = try repositoryFile("docs/emqx-migration.md")
        #expect(documented.contains("`\(words.split(separator: " ")[0])`"))
    }

    @Test func `regression: a key of the wrong kind is named by what it is for`() throws {
        let set = CommandSet(
            row: try CommandTemplate("HMGET k:%C password"),
            superuser: try CommandTemplate("GET s:%C", purpose: .superuser),
            access: try CommandTemplate("HGETALL acl:%C", purpose: .access)
        )
        let wrong = RedisReply.error(Array("WRONGTYPE no".utf8))
        let row = RedisReply.array([self.bulk("p")])
        #expect(
            set.interpret([wrong, .null, .null])
                == .unusable(
                    "WRONGTYPE no (the key of the password row, which HMGET of authentication.command asked for)"
                )
        )
        #expect(
            set.interpret([row, wrong, wrong])
                == .unusable(
                    "WRONGTYPE no (the key of the access rows, which HGETALL of authentication.acl_command asked for)"
                )
        )
    }

    @Test(
        arguments: [
            (.bulk([0x31]), true), (.integer(1), true), (.integer(0), false), (.bulk([0x30]), false), (.null, false),
            (.bulk(Array("true".utf8)), false), (.integer(2), false),
            (.error(Array("WRONGTYPE Operation against a key".utf8)), false),
        ] as [(RedisReply, Bool)]
    )
    func superusers(_ reply: RedisReply, _ isSuperuser: Bool) throws {
        let set = CommandSet(
            row: try CommandTemplate("HMGET k:%C password"),
            superuser: try CommandTemplate("SISMEMBER admins %C", purpose: .superuser)
        )
        guard case .found(let row) = set.interpret([.array([self.bulk("p")]), reply]) else {
            Issue.record("there is no row")
            return
        }
        #expect(row.isSuperuser == isSuperuser)
    }
}
