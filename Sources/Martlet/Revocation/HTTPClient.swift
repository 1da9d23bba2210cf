import Common
import Glibc
import TLS

/// GET by HTTP/1.1 (RFC 9112), as much as fetching a file takes: one request per connection, http or https, redirections, bounded in
/// size and time.
enum HTTPClient {
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }

    private static let redirectionsMax = 5
    private static let headBytesMax = 64 << 10

    /// The body of the answer to a GET. What is thrown is the end of a sentence that begins with the address.
    static func get(_ url: String, timeoutNanoseconds: UInt64, bytesMax: Int) throws(Failure) -> [UInt8] {
        let deadline = Clock.monotonic() &+ timeoutNanoseconds
        var target = url
        for _ in 0...Self.redirectionsMax {
            // After a redirection it is another one that answers so.
            let whose = target == url ? "" : "\(target) "
            let address: HTTPAddress
            do throws(ValueError) {
                address = try HTTPAddress.parse(target)
            } catch {
                throw Failure("\(whose)\(error.message)")
            }
            let answer = try Self.exchange(address, deadline: deadline, bytesMax: bytesMax)
            switch answer.status {
            case 200: return answer.body
            case 301, 302, 303, 307, 308:
                guard let location = answer.location else { throw Failure("\(whose)redirects to nowhere") }
                target = location.hasPrefix("/") ? Self.base(address) + location : location
            default: throw Failure("\(whose)answers with status \(answer.status)")
            }
        }
        throw Failure("redirects more than \(Self.redirectionsMax) times")
    }

    private static func base(_ address: HTTPAddress) -> String {
        "\(address.isSecure ? "https" : "http")://\(RedisURL.Server.tcp(host: address.host, port: address.port))"
    }

    private static func exchange(_ address: HTTPAddress, deadline: Instant, bytesMax: Int) throws(Failure) -> HTTPAnswer
    {
        let stream = try HTTPStream(address, deadline: deadline)
        let host = RedisURL.Server.tcp(host: address.host, port: address.port)
        let request =
            "GET \(address.path) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: martlet\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        try stream.write(Array(request.utf8))
        var parser = HTTPAnswerParser(headBytesMax: Self.headBytesMax, bodyBytesMax: bytesMax)
        while true {
            let bytes = try stream.read()
            if let answer = try parser.feed(bytes) { return answer }
            if bytes.isEmpty { throw Failure("the server ended the connection in the middle of its answer") }
        }
    }
}
