/// What `http://host[:port]/…` and `https://…` name, as far as `martlet crl refresh` can ask for it.
public struct HTTPAddress: Equatable, Sendable {
    public var isSecure: Bool
    public var host: String
    public var port: UInt16
    /// With its query.
    public var path: String

    public init(isSecure: Bool, host: String, port: UInt16, path: String) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.path = path
    }

    /// What is thrown is the end of a sentence that begins with the address.
    public static func parse(_ url: String) throws(ValueError) -> Self {
        // The scheme may be written in capitals (RFC 3986, section 3.1).
        let scheme = url.prefix { $0 != ":" }.lowercased()
        let isSecure = scheme == "https"
        guard isSecure || scheme == "http", url.dropFirst(scheme.count).hasPrefix("://") else {
            throw ValueError("is no http:// or https:// address")
        }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValueError("has blanks, control characters or letters beyond ASCII; write them as % and two digits")
        }
        let rest = url.dropFirst(scheme.count + 3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        // A password may hold a slash: what stands before the @ is not shown in any case.
        guard !authority.contains("@") else {
            throw ValueError("has a user or password before @, which are not sent; leave them out")
        }
        let (host, port) = try Self.parse(authority, defaultPort: isSecure ? 443 : 80)
        let path = rest.dropFirst(authority.count).prefix { $0 != "#" }
        return Self(
            isSecure: isSecure,
            host: host,
            port: port,
            path: path.isEmpty ? "/" : path.hasPrefix("/") ? String(path) : "/\(path)"
        )
    }

    private static func parse(
        _ authority: Substring,
        defaultPort: UInt16
    ) throws(ValueError) -> (host: String, port: UInt16) {
        guard !authority.isEmpty, !authority.hasPrefix(":") else { throw ValueError("names no host") }
        let server: RedisURL.Server
        do throws(ValueError) {
            server = try RedisURL.parseServer(String(authority), defaultPort: defaultPort)
        } catch {
            // A host without a port is one, unless the host is not.
            let host = authority.hasPrefix("[") ? authority.prefix { $0 != "]" } + "]" : authority.prefix { $0 != ":" }
            let isHost = (try? RedisURL.parseServer(String(host), defaultPort: defaultPort)) != nil
            throw ValueError(
                isHost && authority.dropFirst(host.count).hasPrefix(":")
                    ? "has a port that is not a number from 1 to 65535" : "names no host"
            )
        }
        guard case .tcp(let host, let port) = server else { throw ValueError("names no host") }
        return (host, port)
    }
}
