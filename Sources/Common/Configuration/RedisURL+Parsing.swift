extension RedisURL {
    public static let defaultPort: UInt16 = 6379
    private static let form = "redis://[user@]host:port[/database], rediss:// for TLS, or unix:///path[?db=n]"

    public static func parse(_ text: String) throws(ValueError) -> RedisURL {
        let shown = "\"\(ConfigurationText.shown(text))\""
        // The path of a socket may have spaces.
        let lowest: UInt8 = text.hasPrefix("unix://") ? 0x20 : 0x21
        guard text.utf8.allSatisfy({ $0 >= lowest && $0 != 0x7F }) else {
            throw ValueError("\(shown) holds spaces or control characters; write \(Self.form)")
        }
        if text.hasPrefix("redis://") {
            return try Self.parseTCP(String(text.dropFirst("redis://".count)), shown: shown)
        }
        if text.hasPrefix("unix://") {
            return try Self.parseUnix(String(text.dropFirst("unix://".count)), shown: shown)
        }
        if text.hasPrefix("rediss://") {
            var url = try Self.parseTCP(String(text.dropFirst("rediss://".count)), shown: shown)
            url.usesTLS = true
            return url
        }
        throw ValueError("\(shown) is not a Redis address; write \(Self.form)")
    }

    /// `host` or `host:port`, as Sentinels and nodes of a cluster are written.
    public static func parseServer(_ text: String, defaultPort: UInt16) throws(ValueError) -> Server {
        let url: RedisURL
        do throws(ValueError) {
            guard !text.contains("/"), !text.contains("@") else { throw ValueError("") }
            url = try Self.parse("redis://\(text)")
        } catch {
            throw ValueError("\"\(ConfigurationText.shown(text))\" is no server; write host:port")
        }
        guard case .tcp(let host, let port) = url.server else { return url.server }
        let namesPort = text.hasSuffix(":\(port)")
        return .tcp(host: host, port: namesPort ? port : defaultPort)
    }

    private static func parseTCP(_ text: String, shown: String) throws(ValueError) -> RedisURL {
        var rest = Array(text.utf8)[...]
        // A password may hold a slash: it is refused all the same and must not be shown.
        let user = try Self.takeUser(&rest, authority: rest)
        var database = 0
        if let slash = rest.firstIndex(of: UInt8(ascii: "/")) {
            let digits = String(decoding: rest[(slash + 1)...], as: UTF8.self)
            if !digits.isEmpty { database = try Self.database(digits, shown: shown) }
            rest = rest[..<slash]
        }
        var host = rest
        var port = Self.defaultPort
        let closing = rest.first == UInt8(ascii: "[") ? rest.firstIndex(of: UInt8(ascii: "]")) : nil
        let colon = rest[(closing ?? rest.startIndex)...].firstIndex(of: UInt8(ascii: ":"))
        if let colon {
            let digits = String(decoding: rest[(colon + 1)...], as: UTF8.self)
            guard let number = NumberText.parse(digits), let parsed = UInt16(exactly: number), parsed > 0 else {
                throw ValueError("\(shown): the port must be a number from 1 to 65535")
            }
            port = parsed
            host = rest[..<colon]
        }
        if let closing {
            guard host.endIndex == closing + 1 else {
                throw ValueError("\(shown) is not a Redis address; write \(Self.form)")
            }
            host = host[(host.startIndex + 1)..<closing]
        }
        let forbidden = Array("[]?#@".utf8)
        guard !host.isEmpty, !host.contains(where: { forbidden.contains($0) }) else {
            throw ValueError("\(shown) names no host; write \(Self.form)")
        }
        let name = String(decoding: host, as: UTF8.self)
        return RedisURL(server: .tcp(host: name, port: port), user: user, database: database)
    }

    private static func parseUnix(_ text: String, shown: String) throws(ValueError) -> RedisURL {
        var rest = Array(text.utf8)[...]
        let user = try Self.takeUser(&rest, authority: rest.prefix { $0 != UInt8(ascii: "/") })
        var database = 0
        if let question = rest.firstIndex(of: UInt8(ascii: "?")) {
            let query = String(decoding: rest[(question + 1)...], as: UTF8.self)
            guard query.hasPrefix("db=") else {
                throw ValueError("\(shown): after ? only db=n is known")
            }
            database = try Self.database(String(query.dropFirst("db=".count)), shown: shown)
            rest = rest[..<question]
        }
        guard rest.first == UInt8(ascii: "/"), rest.count > 1 else {
            throw ValueError("\(shown) names no absolute path; write unix:///path[?db=n]")
        }
        guard rest.count <= Configuration.socketPathBytesMax else {
            throw ValueError("\(shown): the path of a Unix socket has at most 107 bytes, this has \(rest.count)")
        }
        let path = String(decoding: rest, as: UTF8.self)
        return RedisURL(server: .unixSocket(path: path), user: user, database: database)
    }

    /// The part before the last `@` of `authority`.
    private static func takeUser(
        _ rest: inout ArraySlice<UInt8>,
        authority: ArraySlice<UInt8>
    ) throws(ValueError) -> String? {
        guard let at = authority.lastIndex(of: UInt8(ascii: "@")) else { return nil }
        let user = rest[..<at]
        guard !user.contains(UInt8(ascii: ":")) else {
            throw ValueError(
                "a password does not belong into the address; put it into a file and name it in password_file"
            )
        }
        rest = rest[(at + 1)...]
        return user.isEmpty ? nil : try Self.decode(user)
    }

    /// RFC 3986, section 2.1: `%` and two hexadecimal digits for each byte that has a meaning of its own, such as `:` and `@`.
    private static func decode(_ text: ArraySlice<UInt8>) throws(ValueError) -> String {
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap({ CommandLineSplitter.hexDigit($0) }),
                let low = rest.popFirst().flatMap({ CommandLineSplitter.hexDigit($0) }),
                case let decoded = high << 4 | low, decoded >= 0x20, decoded != 0x7F
            else {
                throw ValueError("in the address, write %25 for % itself, and %3A or %40 for : or @ in the user's name")
            }
            bytes.append(decoded)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func database(_ digits: String, shown: String) throws(ValueError) -> Int {
        guard let number = NumberText.parse(digits), number <= 1_000_000 else {
            throw ValueError("\(shown): the database must be a number")
        }
        return Int(number)
    }
}
