/// Where a Redis server is: `redis://[user@]host:port[/database]` or `unix:///path[?db=n]`.
///
/// A password does not belong in it: it would show in `config check`, logs and process lists.
package struct RedisURL: Equatable, Sendable {
    package enum Server: Equatable, Sendable {
        /// A name or an address (an IPv6 address without brackets).
        case tcp(host: String, port: UInt16)
        case unixSocket(path: String)
    }

    package var server: Server
    /// For AUTH with two arguments; nil: the default user.
    package var user: String?
    package var database: Int

    package init(server: Server, user: String? = nil, database: Int = 0) {
        self.server = server
        self.user = user
        self.database = database
    }

    package static func tcp(host: String, port: UInt16, database: Int = 0) -> RedisURL {
        RedisURL(server: .tcp(host: host, port: port), database: database)
    }

    package static func unixSocket(_ path: String, database: Int = 0) -> RedisURL {
        RedisURL(server: .unixSocket(path: path), database: database)
    }
}

extension RedisURL: CustomStringConvertible {
    package var description: String {
        let user = self.user.map { "\($0)@" } ?? ""
        switch self.server {
        case .tcp(let host, let port):
            let shown = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
            return "redis://\(user)\(shown):\(port)/\(self.database)"
        case .unixSocket(let path):
            return "unix://\(user)\(path)" + (self.database == 0 ? "" : "?db=\(self.database)")
        }
    }
}
