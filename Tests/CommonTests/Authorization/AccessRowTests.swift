import Common
import Testing

@Suite struct AccessRowTests {
    private static let client = ClientAttributes(
        clientIdentifier: Array("c1".utf8),
        userName: Array("fred".utf8),
        peerAddress: Array("192.0.2.1:1".utf8)
    )

    private func rules(_ pairs: [(String, String)], _ client: ClientAttributes = Self.client) -> AccessRules {
        let rows = AccessRowRules(pairs.map { AccessRow(filter: Array($0.0.utf8), access: Array($0.1.utf8)) })
        guard let rendered = rows.render(for: client) else { return AccessRules(noMatch: .deny) }
        return AccessRules(rules: rendered.rules, noMatch: .deny)
    }

    private func may(_ rules: AccessRules, publish topic: String, qos: QoS = .atMostOnce, retain: Bool = false) -> Bool
    {
        Array(topic.utf8).withUnsafeBytes { rules.allowsPublish(topic: $0, qos: qos, retain: retain) }
    }

    private func may(_ rules: AccessRules, subscribe filter: String, qos: QoS = .atMostOnce) -> Bool {
        Array(filter.utf8).withUnsafeBytes { rules.allowsSubscribe(filter: $0, qos: qos) }
    }

    @Test(arguments: [
        // EMQX 4's bit mask, EMQX 5's words, its JSON.
        ("1", false, true), ("2", true, false), ("3", true, true),
        ("subscribe", false, true), ("publish", true, false), ("all", true, true),
        (#"{"action":"pub"}"#, true, false), (#"{"action":"sub","qos":null}"#, false, true),
        (#" {"action":"all"}"#, true, true), (#"{"action":"all","permission":"allow"}"#, true, true),
        ("\r\n\t{ \"action\" : \"all\" }\n", true, true), (#" x{"action":"all"}"#, false, false),
        // Words that EMQX has in one form alone.
        ("pub", false, false), ("sub", false, false), ("pubsub", false, false),
        (#"{"action":"1"}"#, false, false), (#"{"action":"3"}"#, false, false), (#"{"action":"pubsub"}"#, false, false),
        // Members that nobody looks at may be anything.
        (#"{"action":"publish","note":1.5e3}"#, true, false),
        (#"{"action":"publish","n":[-0.1,1E+2,0,99999999999999999999]}"#, true, false),
        (#"{"action":"publish","note":1.}"#, false, false), (#"{"action":"publish","note":01}"#, false, false),
        (#"{"action":"publish","note":-}"#, false, false), (#"{"action":"publish","note":1e}"#, false, false),
        (#"{"action":"publish","qos":1.0}"#, false, false), (#"{"action":"publish","retain":1.5}"#, false, false),
        ("0", false, false), ("4", false, false), ("", false, false), ("PUBLISH", false, false), ("12", false, false),
        (#"{"qos":1}"#, false, false), (#"{"action":"all""#, false, false), (#"["all"]"#, false, false),
        (#"{"action":"all","permission":"perhaps"}"#, false, false), (#"{"action":"all","qos":3}"#, false, false),
        (#"{"action":"all"} x"#, false, false),
    ])
    func accesses(_ access: String, _ publish: Bool, _ subscribe: Bool) {
        let rules = self.rules([("t/1", access)])
        #expect(self.may(rules, publish: "t/1") == publish)
        #expect(self.may(rules, subscribe: "t/1") == subscribe)
        #expect(!self.may(rules, publish: "t/2"))
    }

    @Test(arguments: [
        ("4", "is none of 1, 2, 3"), (#"{"action":"publsh"}"#, "lacks an \"action\""),
        (#"{"qos":1}"#, "lacks an \"action\""),
        (#"{"action":"all""#, "is no valid JSON"), (#"{"action":"all","permission":"no"}"#, "has a \"permission\""),
        (#"{"action":"all","qos":3}"#, "has a \"qos\""), (#"{"action":"all","retain":2}"#, "has a \"retain\""),
    ])
    func mistakesAreNamed(_ access: String, _ text: String) throws {
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 10_000)
        let rows = [("t/1", "1"), ("t/2", access)].map { AccessRow(filter: Array($0.0.utf8), access: Array($0.1.utf8)) }
        let mistake = try #require(AccessRowRules(rows + [AccessRow(filter: long, access: [])]).mistake)
        #expect(mistake.filter == "t/2" && mistake.access == access && mistake.text.hasPrefix("its access \(text)"))
        #expect(mistake.text.hasSuffix("allow nothing") == access.hasPrefix("{"))
        // The one that takes all others with it comes first.
        let last = try #require(AccessRowRules([AccessRow(filter: long, access: [])] + rows).mistake)
        #expect(access.hasPrefix("{") ? last == mistake : last.filter.utf8.count < 140)
        #expect(AccessRowRules(Array(rows.prefix(1))).mistake == nil)
    }

    @Test(arguments: [
        ("1", [false, true, false]), (#""1,2""#, [false, true, true]), ("[0,2]", [true, false, true]),
        ("null", [true, true, true]), (#"["0"]"#, [true, false, false]),
    ])
    func qualityOfService(_ qos: String, _ expected: [Bool]) {
        let rules = self.rules([("t", #"{"action":"all","qos":\#(qos)}"#)])
        let levels: [QoS] = [.atMostOnce, .atLeastOnce, .exactlyOnce]
        #expect(levels.map { self.may(rules, publish: "t", qos: $0) } == expected)
        #expect(levels.map { self.may(rules, subscribe: "t", qos: $0) } == expected)
    }

    @Test(arguments: [
        ("true", true, false), ("1", true, false), (#""1""#, true, false), ("false", false, true), ("0", false, true),
        (#""all""#, true, true), ("null", true, true),
    ])
    func retain(_ retain: String, _ retained: Bool, _ notRetained: Bool) {
        let rules = self.rules([("t", #"{"action":"publish","retain":\#(retain)}"#)])
        #expect(self.may(rules, publish: "t", retain: true) == retained)
        #expect(self.may(rules, publish: "t", retain: false) == notRetained)
    }

    /// A row whose JSON begins with a space was left out, and what it denied was allowed by the next one.
    @Test func whatDeniesIsReadWithSpacesInFront() {
        let rules = self.rules([("t/1", #" {"action":"publish","permission":"deny"}"#), ("t/#", "all")])
        #expect(!self.may(rules, publish: "t/1"))
        #expect(self.may(rules, publish: "t/2"))
    }

    @Test func aDollarSignIsWrittenAsInEMQX() {
        let rules = self.rules([("c/${$}{clientid}/x", "3"), ("d/${clientid}", "3")])
        #expect(self.may(rules, publish: "c/${clientid}/x"))
        #expect(!self.may(rules, publish: "c/c1/x"))
        #expect(self.may(rules, publish: "d/c1"))
    }

    /// EMQX 5 takes what follows the mark for the topic itself.
    @Test func `regression: placeholders behind eq are none`() {
        let rules = self.rules([("eq t/${username}", "3"), ("eq u/%u", "3"), ("eq ${$}{x}", "3"), ("eq ", "3")])
        #expect(self.may(rules, publish: "t/${username}") && self.may(rules, subscribe: "t/${username}"))
        #expect(!self.may(rules, publish: "t/fred") && !self.may(rules, publish: "u/fred"))
        #expect(self.may(rules, publish: "u/%u") && self.may(rules, publish: "${$}{x}"))
        // One that denies another topic denies nothing else, whatever the client is called.
        let widening = ClientAttributes(clientIdentifier: Array("c".utf8), userName: Array("#".utf8))
        let denied = self.rules([("a", "3"), ("eq t/%u", #"{"action":"all","permission":"deny"}"#)], widening)
        #expect(self.may(denied, publish: "a") && !self.may(denied, publish: "t/%u"))
    }

    /// Such a row voided all rows of the device.
    @Test func `regression: retain means nothing to subscriptions`() {
        for retain in ["2", "true", "null"] {
            let rules = self.rules([("t", #"{"action":"subscribe","retain":\#(retain)}"#), ("a", "publish")])
            #expect(self.may(rules, subscribe: "t") && self.may(rules, publish: "a"), "\(retain)")
        }
        #expect(!self.may(self.rules([("t", #"{"action":"all","retain":2}"#), ("a", "publish")]), publish: "a"))
    }

    @Test func `regression: rows with mistakes are counted, and filters that are none are named`() throws {
        func mistake(_ pairs: [(String, String)]) -> AccessRowRules.Mistake? {
            AccessRowRules(pairs.map { AccessRow(filter: Array($0.0.utf8), access: Array($0.1.utf8)) }).mistake
        }
        let one = try #require(mistake([("a", "1"), ("e/#/x", "3")]))
        #expect(one.filter == "e/#/x" && one.text.hasPrefix("its filter is none") && one.others.isEmpty)
        let three = try #require(mistake([("a", "9"), ("e/#/x", "3"), ("b+%u", "1"), ("c/%u/+", "1"), ("eq d#", "1")]))
        #expect(three.filter == "a" && three.count == 3 && three.others.hasPrefix(" (3 rows of the device"))
        let deciding = try #require(mistake([("a", "9"), ("b", "{")]))
        #expect(deciding.filter == "b" && deciding.count == 2)
    }

    @Test func filters() {
        let rules = self.rules([
            ("a/+", "3"), ("eq b/+", "3"), ("u/%u/#", "2"), ("v/${username}/${clientid}", "2"), ("w/%C", "3"),
            ("50%off", "3"), ("bad/#/x", "3"),
        ])
        #expect(self.may(rules, publish: "a/x"))
        #expect(!self.may(rules, publish: "b/x"))
        #expect(self.may(rules, subscribe: "b/+"))
        #expect(self.may(rules, publish: "u/fred/x"))
        #expect(!self.may(rules, publish: "u/bob/x"))
        #expect(self.may(rules, publish: "v/fred/c1"))
        // No certificate: no such topic.
        #expect(!self.may(rules, publish: "w/"))
        #expect(!self.may(rules, publish: "w/%C"))
        #expect(self.may(rules, publish: "50%off"))
        #expect(!self.may(rules, publish: "bad/#/x"))
    }

    @Test(arguments: ["+", "#", "a/b", "x\u{7}"])
    func valuesThatWouldWidenAFilterDoNotMatch(_ name: String) {
        let client = ClientAttributes(clientIdentifier: Array("c".utf8), userName: Array(name.utf8))
        let allowed = self.rules([("u/%u", "3"), ("open", "3")], client)
        #expect(!self.may(allowed, subscribe: "u/+"))
        #expect(!self.may(allowed, publish: "u/\(name)"))
        #expect(self.may(allowed, publish: "open"))
        // One that denies: nothing is allowed by the rows any more.
        let denied = self.rules([("open", "3"), ("u/%u", #"{"action":"all","permission":"deny"}"#)], client)
        #expect(!self.may(denied, publish: "open"))
    }

    @Test func whatDeniesComesFirst() {
        let rules = self.rules([("a/#", "all"), ("a/secret", #"{"action":"publish","permission":"deny"}"#)])
        #expect(self.may(rules, publish: "a/open"))
        #expect(!self.may(rules, publish: "a/secret"))
    }

    @Test func whatMayDenyAndIsNotUnderstoodAllowsNothing() {
        #expect(!self.may(self.rules([("a/#", "all"), ("a/secret", #"{"permission":"deny""#)]), publish: "a/x"))
        #expect(self.may(self.rules([("a/#", "all"), ("b", "nonsense")]), publish: "a/x"))
    }

    @Test(
        arguments: [
            ("null", .null), ("true", .flag(true)), ("-12", .integer(-12)),
            (#""a\n\u00e4\ud83d\ude00""#, .text(Array("a\nä😀".utf8))),
            ("[1, []]", .list([.integer(1), .list([])])), ("{}", .object([])), ("", nil), ("1.5", .otherNumber),
            ("[1,]", nil),
            (#""\ud83d""#, nil), ("{1:2}", nil),
            (String(repeating: "[", count: 33) + String(repeating: "]", count: 33), nil), ("tru", nil),
            ("\"\u{1}\"", nil),
            ("-", nil),
            ("99999999999999999999", .otherNumber),
        ] as [(String, JSONValue?)]
    )
    func json(_ text: String, _ expected: JSONValue?) {
        #expect(JSONValue(Array(text.utf8)) == expected)
    }
}
