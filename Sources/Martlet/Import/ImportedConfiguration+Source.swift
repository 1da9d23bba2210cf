extension ImportedConfiguration.Source {
    /// EMQX's port of every server, Sentinels too. It is written, for Martlet's of a Sentinel is 26379.
    private static let defaultPort = 6379

    /// - Parameter texts: each may name several, with commas.
    mutating func setServers(_ texts: [String]) {
        self.servers = texts.flatMap { $0.split(separator: ",") }.compactMap { text in
            let server = ImportedText.trimmed(String(text))
            guard !server.isEmpty else { return nil }
            let hasPort = server.contains(":") && !server.hasSuffix("]")
            return hasPort ? server : "\(server):\(Self.defaultPort)"
        }
    }
}

extension ImportedConfiguration {
    /// A number, or 0 and a warning.
    mutating func database(_ text: String?, _ name: String, line: Int) -> Int {
        guard let text else { return 0 }
        if let number = Int(text) { return number }
        self.warn(line, "\(name) is \(text), which is no number: 0 is written")
        return 0
    }

    /// Leaves out what Martlet refuses, and says so.
    mutating func check(_ source: inout Source, line: Int) {
        if source.kind == "cluster", source.database != 0 {
            self.warn(line, "database \(source.database) is left out: a Redis Cluster has only 0")
            source.database = 0
        }
        if source.kind == "single", source.servers.count > 1 {
            self.warn(line, "only the first of \(source.servers.count) servers is taken over: the type is single")
        }
        if let user = source.user, source.password == nil, source.passwordFile == nil {
            self.warn(line, "the user name \(user) is left out: there is no password for it")
            source.user = nil
        }
    }

    mutating func readQueryTimeout(_ text: String, _ name: String, line: Int, into source: inout Source) {
        if let milliseconds = ImportedSetting.milliseconds(text), (1...60_000).contains(milliseconds) {
            source.queryTimeoutMilliseconds = milliseconds
        } else {
            self.warn(
                line,
                "\(name) = \(text) is not taken over: redis.query_timeout is 1ms to 60s, in forms such as 5s and 500ms"
            )
        }
    }
}
