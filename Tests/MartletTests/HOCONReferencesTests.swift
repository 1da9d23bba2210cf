import Common
import Testing

@testable import Martlet

/// `${path}` outside of quotes.
@Suite struct HOCONReferencesTests {
    private func parse(_ text: String) throws -> (root: HOCONValue, problems: [HOCONParser.Failure]) {
        var parser = HOCONParser(text)
        let root = try parser.parse()
        return (root, parser.problems)
    }

    @Test func `regression: values of the same file are put in`() throws {
        let text = """
            prefix = "HMGET mq:"
            server = "127.0.0.1"
            common { mechanism = password_based, backend = redis, server = ${server}":6379" }
            authentication = [ ${common} { cmd = ${prefix}"${username} password_hash salt" } ]
            authentication = ${authentication} [ ${later} ]
            later = ${common} {cmd = "HMGET b:${username} password_hash salt", server = ${?server}:6380}
            listeners.tcp.default { bind = "127.0.0.1:1" }
            """
        let imported = try EMQX5Reader.read(text)
        #expect(
            imported.sources.map(\.command) == [
                "HMGET mq:${username} password_hash salt", "HMGET b:${username} password_hash salt",
            ]
        )
        #expect(imported.sources.map(\.servers) == [["127.0.0.1:6379"], ["127.0.0.1:6380"]])
        #expect(!imported.warnings.contains { $0.text.contains("not taken over") || $0.text.contains("left out") })
        #expect(ImportedConfiguration.mistakes(in: imported.yaml(passwordFiles: [])) == [])
    }

    @Test func earlierAndLaterValuesAreMerged() throws {
        let text = """
            base { a = 1, list = [1], deep.x = 1 }
            o = ${base} { b = 2, list = ${base.list} [2] }
            o.deep.y = ${base.a}
            o { list = ${o.list} [3] }
            o.list += 4
            o.list.1 = 9
            t = one ${base.a} ${base.deep.x} end
            f = 1
            f = ${?nowhere}
            """
        let (root, problems) = try self.parse(text)
        #expect(root["o", "list"]?.elements.map(\.text) == ["9", "2", "3", "4"])
        #expect(root["o", "deep", "y"]?.text == "1" && root["o", "deep", "x"]?.text == "1")
        #expect(root["o", "a"]?.text == "1" && root["o", "b"]?.text == "2" && root["f"]?.text == "1")
        #expect(root["t"]?.text == "one 1 1 end")
        #expect(problems.map(\.line) == [9])
    }

    @Test(arguments: [
        "a = ${b}\nb = ${a}", "a { b = ${a} }\nx = 1", "a = [${b}]\nb { c = ${a} }", "\na = {x = 1} ${b}\nb = 2",
        "\na = ${", "\na = ${b", "\na = ${}",
    ])
    func valuesThatAreNoneAreRefusedWithTheirLine(_ text: String) {
        let failure = #expect(throws: HOCONParser.Failure.self) { try self.parse(text) }
        #expect((failure?.line ?? 0) >= 1)
    }

    @Test func referencesToThemselvesWithNothingBeforeAreLeftOut() throws {
        let (root, problems) = try self.parse("a = ${?a} [1]\nb = ${b}")
        #expect(root["a"]?.elements.count == 1)
        #expect(problems.map(\.line) == [1, 2])
    }

    /// Some lines that name each other stand for more than any memory holds.
    @Test func whatIsPutInIsBounded() {
        let doubling = (0..<15).map { "a\($0) = [${a\($0 + 1)}, ${a\($0 + 1)}, ${a\($0 + 1)}]" }.joined(separator: "\n")
        #expect(throws: HOCONParser.Failure.self) { try self.parse(doubling + "\na15 = 1") }
        let chain = (0..<5000).map { "a\($0) = ${a\($0 + 1)}" }.joined(separator: "\n")
        #expect(throws: HOCONParser.Failure.self) { try self.parse(chain + "\na5000 = 1") }
        let appended = String(repeating: "a = ${a} [1]\n", count: 2000)
        #expect(throws: HOCONParser.Failure.self) { try self.parse("a = []\n" + appended) }
        let texts = "a = x\n" + String(repeating: "a = ${a}${a}\n", count: 60)
        #expect(throws: HOCONParser.Failure.self) { try self.parse(texts) }
    }
}
