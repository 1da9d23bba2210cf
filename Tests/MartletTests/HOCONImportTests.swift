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

    @Test(arguments: [
        (#"0.0.0.0":"8884, b = 1"#, "0.0.0.0:8884"), (#""0.0.0.0:"8884"#, "0.0.0.0:8884"),
        (#"HMGET "mqtt:${username}" password_hash"#, "HMGET mqtt:${username} password_hash"),
        (#"HMGET  "k"  f "g" }"#, "HMGET  k  f g"), (#""x" y // z"#, "x y"), (#""x" y # z"#, "x y"), (#""x" # y"#, "x"),
        ("\"x\" y\r\nb = 1", "x y"), ("\"x\"\r\ny = 1", "x"), (#"x "${y}" ${z} v"#, "x ${y} w v"),
    ])
    func `regression: text without quotes goes together with text in quotes`(_ text: String, _ value: String) throws {
        var parser = HOCONParser("{ z = w\na = \(text)\n}")
        #expect(try parser.parse()["a"]?.text == value)
    }

    @Test(arguments: ["y = 1", "y : 1", "y { v = 1 }", "y.v = 1", "y += 1", "y {}"])
    func aKeyBehindTextInQuotesStaysOne(_ rest: String) throws {
        var parser = HOCONParser("a = \"x\" \(rest)")
        let root = try parser.parse()
        #expect(root["a"]?.text == "x" && root["y"] != nil)
        var list = HOCONParser("a = [\"x\" y, \"z\"\nv]")
        #expect(try list.parse()["a"]?.elements == [.text("x y"), .text("z"), .text("v")])
    }

    @Test(arguments: ["a + 1", "a +: 1", String(repeating: "a.", count: 100_000) + "a = 1", "a = {} ${x} {} \"\" ="])
    func brokenTextIsRefused(_ text: String) {
        var parser = HOCONParser(text)
        #expect(throws: HOCONParser.Failure.self) { try parser.parse() }
    }

    /// What stood behind it on its line was lost.
    @Test(arguments: [
        "\"x.conf\"", "required(\"x.conf\")", "required(file(\"x.conf\"))", "url(\"http://a/(b)\")", "file( \"x\" )",
        "x.conf",
        "classpath(\"a, b = 2\")",
    ])
    func onlyTheNameBehindIncludeIsLeftOut(_ name: String) throws {
        for text in ["include \(name), b = 1", "a { include \(name), b = 1 }\nb = 1", "include \(name)\nb = 1"] {
            var parser = HOCONParser(text)
            let root = try parser.parse()
            #expect(root["b"]?.text == "1", "\(text)")
            #expect(text.hasPrefix("a") == (root["a", "b"]?.text == "1"), "\(text)")
            #expect(parser.problems == [.init(line: 1, text: "include is not followed; import that file too")])
        }
    }

    @Test func includeMayBeAKey() throws {
        var parser = HOCONParser("include = 1, b { include { c = 2 } }")
        let root = try parser.parse()
        #expect(root["include"]?.text == "1" && root["b", "include", "c"]?.text == "2" && parser.problems.isEmpty)
        for text in ["include required(\"x\"", "include file()", "include", "include required(file(\"x\")"] {
            var parser = HOCONParser(text)
            #expect(throws: HOCONParser.Failure.self) { try parser.parse() }
        }
    }

    @Test func appendingTwiceInAnObjectThatIsMergedKeepsAll() throws {
        var parser = HOCONParser("a { b = [1] }\na { b += 2\nb += 3 }\na.b += 4\na.b.2 = 5\n")
        #expect(try parser.parse()["a", "b"] == .array([.text("1"), .text("5"), .text("3"), .text("4")]))
    }
}
