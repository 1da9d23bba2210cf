import Common
import Testing

@testable import Martlet

@Suite struct HTTPClientTests {
    /// They were "no http:// or https:// address" (RFC 3986, section 3.1).
    @Test(arguments: [
        ("HTTP://h/a.crl", false, UInt16(80)), ("Https://h/a.crl", true, 443), ("http://h/a.crl", false, 80),
    ])
    func `regression: the scheme of an address may be written in capitals`(
        _ url: String,
        _ isSecure: Bool,
        _ port: UInt16
    )
        throws
    {
        #expect(try HTTPAddress.parse(url) == HTTPAddress(isSecure: isSecure, host: "h", port: port, path: "/a.crl"))
    }

    /// Without a connection; they were all "no http:// or https:// address".
    @Test(arguments: [
        ("http://", "names no host"), ("http://h:99999/a.crl", "has a port that is not a number from 1 to 65535"),
        ("https://user:secret@h/", "has a user or password before @, which are not sent; leave them out"),
        ("ftp://h/", "is no http:// or https:// address"),
    ])
    func `regression: it is said what is wrong with an address`(_ url: String, _ reason: String) {
        let failure = #expect(throws: HTTPClient.Failure.self) {
            try HTTPClient.get(url, timeoutNanoseconds: 1, bytesMax: 1)
        }
        #expect(failure?.description == reason)
    }

    private func parse(_ text: String, inPiecesOf count: Int) throws -> HTTPAnswer? {
        var parser = HTTPAnswerParser(headBytesMax: 1000, bodyBytesMax: 1000)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let answer = try parser.feed(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
            if let answer { return answer }
        }
        return nil
    }

    @Test("regression: an interim answer is not the answer", arguments: [1, 7, 1000])
    func interimAnswers(_ piece: Int) throws {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"
        let answer = try self.parse("\(interim)HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", inPiecesOf: piece)
        #expect(answer == HTTPAnswer(status: 200, body: Array("ok".utf8)))
    }

    @Test("a server that sends interim answers without end is given up")
    func interimAnswersWithoutEnd() {
        let failure = #expect(throws: HTTPClient.Failure.self) {
            try self.parse(String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 1000), inPiecesOf: 40)
        }
        #expect(failure?.description == "the server sends nothing but interim answers (status 100)")
    }

    /// A negative length was told as one that is too large.
    @Test(
        "Regression: a length that is none is told as such",
        arguments: [
            ("-5", "the answer's Content-Length is no number of bytes"),
            ("", "the answer's Content-Length is no number of bytes"),
            ("+2", "the answer's Content-Length is no number of bytes"),
            ("1001", "the answer is longer than 1000 bytes"),
            ("99999999999999999999", "the answer is longer than 1000 bytes"),
        ]
    )
    func lengths(_ length: String, _ reason: String) {
        let failure = #expect(throws: HTTPClient.Failure.self) {
            try self.parse("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\nok", inPiecesOf: 1000)
        }
        #expect(failure?.description == reason)
    }

    @Test("what follows 101 is no HTTP")
    func switchingProtocols() throws {
        var parser = HTTPAnswerParser(headBytesMax: 1000, bodyBytesMax: 1000)
        #expect(try parser.feed(Array("HTTP/1.1 101 Switching Protocols\r\n\r\n".utf8)) == nil)
        #expect(try parser.feed([])?.status == 101)
    }
}
