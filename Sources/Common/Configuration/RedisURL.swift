/// Where a Redis server is: `redis://[user@]host:port[/database]`, the same with `rediss://` for TLS, or `unix:///path[?db=n]`.
///
/// In the user's name `%XX` stands for a byte. A password does not belong in it: it would show in `config check`, logs and process lists.
public struct RedisURL: Equatable, Sendable {
    public enum Server: Equatable, Sendable {
        /// A name or an address (an IPv6 address without brackets).
        case tcp(host: String, port: UInt16)
        case unixSocket(path: String)
    }

    public var server: Server
    /// For AUTH with two arguments; nil: the default user.
    public var user: String?
    public var database: Int
    public var usesTLS: Bool

    public init(server: Server, user: String? = nil, database: Int = 0, usesTLS: Bool = false) {
        self.server = server
        self.user = user
        self.database = database
        self.usesTLS = usesTLS
    }

    public static func tcp(host: String, port: UInt16, database: Int = 0) -> RedisURL {
        RedisURL(server: .tcp(host: host, port: port), database: database)
    }

    public static func unixSocket(_ path: String, database: Int = 0) -> RedisURL {
        RedisURL(server: .unixSocket(path: path), database: database)
    }
}

extension RedisURL: CustomStringConvertible {
    public var description: String {
        let user = self.user.map { "\(Self.percentEncoded($0))@" } ?? ""
        switch self.server {
        case .tcp:
            return "\(self.usesTLS ? "rediss" : "redis")://\(user)\(self.server)/\(self.database)"
        case .unixSocket(let path):
            return "unix://\(user)\(path)" + (self.database == 0 ? "" : "?db=\(self.database)")
        }
    }

    /// A user's name as it stands in an address: all but what RFC 3986 calls unreserved is `%XX`.
    public static func percentEncoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        let unreserved = Array("-._~".utf8)
        let bytes = text.utf8.flatMap { byte in
            let isAlphanumeric =
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            if isAlphanumeric || unreserved.contains(byte) { return [byte] }
            return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0x0F)]]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension RedisURL.Server: Hashable, CustomStringConvertible {
    /// `host:port`, or the path.
    public var description: String {
        switch self {
        case .tcp(let host, let port):
            let shown = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
            return "\(shown):\(port)"
        case .unixSocket(let path): return path
        }
    }
}
