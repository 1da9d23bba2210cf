import Common
import TestSupport
import Testing

@Suite struct RuleTemplateTests {
    typealias Rule = Configuration.Authorization.Rule

    private static func client(
        _ clientID: String,
        userName: String? = nil,
        commonName: String? = "346a"
    ) -> ClientAttributes {
        ClientAttributes(
            clientIdentifier: Array(clientID.utf8),
            userName: userName.map { Array($0.utf8) },
            identity: commonName.map {
                CertificateIdentity(
                    commonName: Array($0.utf8),
                    subject: Array("CN=\($0)".utf8),
                    issuer: [],
                    serialNumber: [],
                    fingerprint: [],
                    notAfter: 0
                )
            }
        )
    }

    private func render(
        _ rules: [Rule],
        _ client: ClientAttributes,
        noMatch: AccessRule.Permission = .deny
    ) throws -> RuleTemplate.Rendered {
        try RuleTemplate(.init(name: "default", rules: rules), noMatch: noMatch).render(for: client)
    }

    private func allow(_ topics: String...) -> Rule {
        Rule(permission: .allow, actions: .all, topics: topics.map { .init($0) })
    }

    private func filters(_ rendered: RuleTemplate.Rendered) -> [String] {
        rendered.access.rules.map { String(decoding: $0.filter, as: UTF8.self) }
    }

    @Test func fillsInBothDialectsAndKeepsTheOrder() throws {
        let rules = [
            Rule(permission: .deny, actions: .publish, topics: [.init("devices/%C/config")], qosMask: 0b011),
            self.allow("devices/${cert_common_name}/#", "users/%u/+", "all/#"),
            Rule(
                permission: .allow,
                actions: .subscribe,
                topics: [.init("a/+", isLiteral: true)],
                retain: .onlyRetained
            ),
        ]
        let rendered = try self.render(rules, Self.client("c", userName: "joe"), noMatch: .allow)
        #expect(self.filters(rendered) == ["devices/346a/config", "devices/346a/#", "users/joe/+", "all/#", "a/+"])
        #expect(rendered.access.rules.map(\.permission) == [.deny, .allow, .allow, .allow, .allow])
        #expect(rendered.access.rules[0].qosMask == 0b011)
        #expect(rendered.access.rules[4].isLiteral && rendered.access.rules[4].retain == .onlyRetained)
        #expect(rendered.access.noMatch == .allow)
        #expect(rendered.rulesDropped == 0 && !rendered.access.isSuperuser)
    }

    /// In access rows it was, in rules it was not.
    @Test func `regression: behind eq nothing is a placeholder`() throws {
        let topics: [Rule] = [
            Rule(
                permission: .allow,
                actions: .all,
                topics: ["r/%u", "r/%z", "${", "%%"].map { .init($0, isLiteral: true) }
            )
        ]
        let rendered = try self.render(topics, Self.client("c", userName: "joe"))
        #expect(self.filters(rendered) == ["r/%u", "r/%z", "${", "%%"] && rendered.rulesDropped == 0)
        let yaml = """
            listeners: [{name: a, transport: tcp, addresses: ["127.0.0.1:1"]}]
            authorization: {rules: {default: [{allow: all, topics: ["eq r/%%", "eq %z", "eq ${"]}]}}
            authentication: {command: "HMGET u:%u password"}
            """
        let read = try Configuration.parse(Array(yaml.utf8), file: "c.yaml", baseDirectory: "/")
        #expect(read.authorization.ruleSets[0].rules[0].topics.map(\.isLiteral) == [true, true, true])
        // Nobody means that, and a rule that denied it would deny nothing.
        #expect(throws: ConfigurationError.self) {
            let text = Array(yaml.replacing("eq %z", with: "eq r/%u").utf8)
            _ = try Configuration.parse(text, file: "c.yaml", baseDirectory: "/")
        }
    }

    @Test(arguments: ["+", "#", "a/b", "a+", "x#", "a\u{0}", "a\n", "\u{85}"])
    func aValueThatWouldWidenARuleDropsIt(_ value: String) throws {
        let rendered = try self.render([self.allow("devices/%c/#", "fixed")], Self.client(value))
        #expect(self.filters(rendered) == ["fixed"])
        #expect(rendered.rulesDropped == 1)
    }

    @Test func aValueCannotReachTheBrokersOwnTopics() throws {
        #expect(self.filters(try self.render([self.allow("%c/#", "x/%c")], Self.client("$SYS"))) == ["x/$SYS"])
    }

    @Test func aDenyingRuleThatCannotBeFilledInDeniesAllThatFollows() throws {
        let rules = [
            self.allow("before"),
            Rule(permission: .deny, actions: .all, topics: [.init("devices/%c/secret")]),
            self.allow("devices/#"),
        ]
        let rendered = try self.render(rules, Self.client("+"), noMatch: .allow)
        #expect(self.filters(rendered) == ["before"])
        #expect(rendered.access.noMatch == .deny)
        // A client without the value has no such topics: nothing is lost.
        let without = [Rule(permission: .deny, actions: .all, topics: [.init("users/%u")]), self.allow("devices/#")]
        #expect(self.filters(try self.render(without, Self.client("c"))) == ["devices/#"])
    }

    @Test func missingAndEmptyValuesDropTheRule() throws {
        let rules = [self.allow("users/%u/#", "devices/%C/#", "fixed")]
        #expect(self.filters(try self.render(rules, Self.client("c", userName: "", commonName: nil))) == ["fixed"])
    }

    @Test func whatWasFilledInIsNotLookedAtAgain() throws {
        let rendered = try self.render([self.allow("%u")], Self.client("c", userName: "%C${clientid}"))
        #expect(self.filters(rendered) == ["%C${clientid}"])
    }

    @Test func anOverlongFilterIsDropped() throws {
        let long = String(repeating: "x", count: 40_000)
        #expect(self.filters(try self.render([self.allow("%c%c", "%c")], Self.client(long))) == [long])
    }

    @Test func mistakesNameSetAndTopic() {
        let error = #expect(throws: TemplateError.self) {
            try RuleTemplate(.init(name: "sensors", rules: [self.allow("a/%z")]), noMatch: .deny)
        }
        #expect(
            error?.description.hasPrefix("authorization.rules.sensors, topic \"a/%z\": there is no placeholder %z")
                == true
        )
        #expect(error?.position == 3)
    }
}

@Suite struct TemplateTextTests {
    @Test(
        arguments: [
            ("", []),
            ("abc", [.literal(Array("abc".utf8))]),
            ("%u", [.placeholder(.userName)]),
            ("a%C%%b", [.literal([0x61]), .placeholder(.commonName), .literal(Array("%b".utf8))]),
            ("100%", [.literal(Array("100%".utf8))]),
            ("5% of", [.literal(Array("5% of".utf8))]),
            ("%20", [.literal(Array("%20".utf8))]),
            ("$share/%c", [.literal(Array("$share/".utf8)), .placeholder(.clientIdentifier)]),
            ("${$}{x}", [.literal(Array("${x}".utf8))]),
            ("${cert_serial}${peerhost}", [.placeholder(.serialNumber), .placeholder(.peerHost)]),
        ] as [(String, [TemplateText.Segment])]
    )
    func takesTextApart(_ text: String, _ segments: [TemplateText.Segment]) throws {
        #expect(try TemplateText(text).segments == segments)
    }

    @Test(arguments: [("%x", 1), ("abc%Z", 4), ("ab${", 3), ("${username", 1), ("${Username}", 1), ("${}", 1)])
    func refusesWhatIsNoPlaceholder(_ text: String, _ position: Int) {
        let error = #expect(throws: TemplateError.self) { try TemplateText(text) }
        #expect(error?.position == position)
    }

    @Test(arguments: [
        ("192.0.2.1:40000", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]:40000", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"), ("[::1]", "::1"),
    ])
    func thePeersPortIsCutOff(_ address: String, _ host: String) throws {
        let client = ClientAttributes(clientIdentifier: [], peerAddress: Array(address.utf8))
        #expect(try TemplateText("${peerhost}").render(client) == Array(host.utf8))
    }

    @Test func everyPlaceholderIsListedAndParsed() throws {
        for placeholder in Placeholder.allCases {
            #expect(try TemplateText("${\(placeholder.name)}").segments == [.placeholder(placeholder)])
            #expect(Placeholder.listing.contains("${\(placeholder.name)}"))
        }
    }

    @Test func randomTextNeverCrashesAndKeepsItsLiterals() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let pieces = ["%", "${", "}", "$", "u", "C", "username", "x", "{", "ü", " "]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0...10, using: &random)).compactMap { _ in
                pieces.randomElement(using: &random)
            }.joined()
            guard let template = try? TemplateText(text) else { continue }
            var again = ""
            for segment in template.segments {
                switch segment {
                case .literal(let bytes): again += String(decoding: bytes, as: UTF8.self)
                case .placeholder(let placeholder): again += "${\(placeholder.name)}"
                }
            }
            // Written out in full it means the same.
            if !text.contains("%%"), !text.contains("${$}") {
                #expect((try? TemplateText(again))?.segments == template.segments, "seed \(seed): \(text)")
            }
        }
    }
}
