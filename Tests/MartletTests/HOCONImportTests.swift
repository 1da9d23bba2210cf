import Testing

@testable import Martlet

@Suite struct HOCONImportTests {
    private func value(_ text: String) throws -> String? {
        var parser = HOCONParser("a = " + text)
        return try parser.parse()["a"]?.text
    }

    @Test(arguments: [
        (#""k \u0041b""#, "k Ab"), (#""\u00e4\u20AC""#, "ä€"), (#""\ud83d\ude00""#, "😀"),
        (#""\b\f\n\r\t\"\\\/""#, "\u{8}\u{C}\n\r\t\"\\/"),
    ])
    func escapesAreDecoded(_ text: String, _ value: String) throws {
        #expect(try self.value(text) == value)
    }

    @Test(arguments: [
        #""\u00""#, #""\u00g0""#, #""\ud83d""#, #""\ud83d\u0041""#, #""\ude00""#, #""\u"#, #""\u+123""#, "\"x\\\n\"",
    ])
    func badEscapesAreRefusedWithTheirLine(_ text: String) {
        var parser = HOCONParser("b = 1\na = \(text)\n")
        let failure = #expect(throws: HOCONParser.Failure.self) { try parser.parse() }
        #expect(failure?.line == 2)
    }

    @Test(arguments: [
        ("\"\"\"~\n    SELECT\n      *\n\n    FROM t\n  ~\"\"\"", "SELECT\n  *\n\nFROM t\n"),
        ("\"\"\"~\r\n  one\r\n   two~\"\"\"", "one\n two"), ("\"\"\"~\n  one\"\"\"", "one"), ("\"\"\"~\n~\"\"\"", ""),
        ("\"\"\"~\n  x\n      ~\"\"\"", "x\n    "), ("\"\"\"~\"quoted\"~\"\"\"", "\"quoted\""),
        ("\"\"\"~/home\"\"\"", "~/home"),
        ("\"\"\"a\\u\n  b\"\"\"", "a\\u\n  b"), ("\"\"\"~\"\"\"", "~"), ("\"\"\"\"\"\"", ""),
    ])
    func blocksLoseTheirTildesAndTheirIndentation(_ text: String, _ value: String) throws {
        #expect(try self.value(text) == value)
    }

    @Test func whatFollowsABlockHasItsLine() {
        var parser = HOCONParser("a = \"\"\"~\n x\n ~\"\"\"\n= 1")
        #expect(throws: HOCONParser.Failure(line: 4, text: "a key is missing")) { try parser.parse() }
    }

    @Test func valuesSideBySideAreOne() throws {
        var parser = HOCONParser(
            """
            a = { b = 1 } { c = 2 }
            d = [1] [2]
            e = ${x} { f = 3 }
            g = ${x}":6379"
            h = { i = ${x}}
            j = "k" "l"
            m = { n = "o" p = {} q = 4 }
            """
        )
        let root = try parser.parse()
        #expect(root["a", "b"]?.text == "1" && root["a", "c"]?.text == "2")
        #expect(root["d"]?.elements == [.text("1"), .text("2")])
        #expect(root["e", "f"]?.text == "3" && root["g"]?.text == ":6379" && root["h", "i"]?.text == "")
        #expect(root["j"]?.text == "k l" && root["m", "n"]?.text == "o" && root["m", "q"]?.text == "4")
        #expect(parser.problems.map(\.line) == [3, 4, 5])
    }

    @Test(arguments: ["a + 1", "a +: 1", String(repeating: "a.", count: 100_000) + "a = 1", "a = {} ${x} {} \"\" ="])
    func brokenTextIsRefused(_ text: String) {
        var parser = HOCONParser(text)
        #expect(throws: HOCONParser.Failure.self) { try parser.parse() }
    }

    @Test func appendingTwiceInAnObjectThatIsMergedKeepsAll() throws {
        var parser = HOCONParser("a { b = [1] }\na { b += 2\nb += 3 }\na.b += 4\na.b.2 = 5\n")
        #expect(try parser.parse()["a", "b"] == .array([.text("1"), .text("5"), .text("3"), .text("4")]))
    }
}
