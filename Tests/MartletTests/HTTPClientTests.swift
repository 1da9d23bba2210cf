import Testing

@testable import Martlet

@Suite struct HTTPClientTests {
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
}
