extension Configuration.Authentication.Redis {
    private static let sentinelPort: UInt16 = 26379
    private static let serversMax = 64

    mutating func read(_ section: inout ConfigurationSection) {
        let timeouts = Configuration.nanosecondsPerMillisecond...60 * Configuration.nanosecondsPerSecond
        self.readTopology(&section)
        self.readTLS(&section)
        section.path("password_file", into: &self.passwordFile)
        section.duration("connect_timeout", timeouts, into: &self.connectTimeoutNanoseconds)
        section.duration("query_timeout", timeouts, into: &self.queryTimeoutNanoseconds)
        section.integer("pipeline_max", 1...1_000_000, into: &self.pipelineMax)
        section.integer("queue_max", 1...10_000_000, into: &self.queueMax)
        section.choice("invalidation", into: &self.invalidation)
        let intervals = Configuration.nanosecondsPerSecond...86_400 * Configuration.nanosecondsPerSecond
        section.duration("poll_interval", intervals, into: &self.pollIntervalNanoseconds)
        if self.url.user != nil, self.passwordFile == nil {
            section.report(
                self.topology == .single ? "url" : "user",
                "names a user, whose password is needed: put it into a file and name it in password_file"
            )
        }
    }

    private mutating func readTopology(_ section: inout ConfigurationSection) {
        let hasSentinel = section.contains("sentinel")
        let hasCluster = section.contains("cluster") && !hasSentinel
        var sentinel = Sentinel()
        section.section("sentinel") { part in
            sentinel.servers = Self.servers(&part, defaultPort: Self.sentinelPort, isNeeded: hasSentinel)
            part.text("master", into: &sentinel.master)
            part.text("user", into: &sentinel.user)
            part.path("password_file", into: &sentinel.passwordFile)
            if hasSentinel, sentinel.master.isEmpty {
                part.report("master", "is missing; it is the name of the group in the Sentinels' configuration")
            }
            if sentinel.user != nil, sentinel.passwordFile == nil {
                part.report("user", "needs its password: put it into a file and name it in password_file")
            }
        }
        var nodes: [RedisURL.Server] = []
        section.section("cluster") { part in
            nodes = Self.servers(&part, defaultPort: RedisURL.defaultPort, isNeeded: hasCluster)
        }
        if hasSentinel, section.contains("cluster") {
            section.report("cluster", "cannot stand beside sentinel; a Redis Cluster needs no Sentinel")
        }
        if hasSentinel { self.topology = .sentinel(sentinel) }
        if hasCluster { self.topology = .cluster(nodes) }
        let url = section.text("url")
        if let url {
            do { self.url = try RedisURL.parse(url.text) } catch { section.report("url", error.message) }
        }
        var (user, database) = (self.url.user, self.url.database)
        section.text("user", into: &user)
        section.integer("database", 0...1_000_000, into: &database)
        if hasSentinel || hasCluster {
            if url != nil {
                section.report("url", "names one server; with sentinel or cluster write user, database and tls instead")
            }
            if hasCluster, database != 0 { section.report("database", "must be 0: a Redis Cluster has no other") }
            self.url.user = user
            self.url.database = database
        } else {
            for key in ["user", "database"] where section.contains(key) {
                section.report(key, "is for sentinel and cluster; for one server it belongs into url")
            }
        }
    }

    private static func servers(
        _ section: inout ConfigurationSection,
        defaultPort: UInt16,
        isNeeded: Bool
    ) -> [RedisURL.Server] {
        var servers: [RedisURL.Server] = []
        let list = section.list("servers") ?? []
        for (node, path) in list {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            do throws(ValueError) {
                servers.append(try RedisURL.parseServer(text, defaultPort: defaultPort))
            } catch {
                section.reading.report(node.origin, path, error.message)
            }
        }
        if isNeeded, list.isEmpty { section.report("servers", "names none; write at least one, such as [10.0.0.7]") }
        if list.count > Self.serversMax { section.report("servers", "are more than \(Self.serversMax)") }
        return servers
    }

    private mutating func readTLS(_ section: inout ConfigurationSection) {
        let isSingle = self.topology == .single
        let isThere = section.contains("tls")
        var isEnabled = isSingle ? self.url.usesTLS : isThere
        section.section("tls") { part in
            part.flag("enabled", into: &isEnabled)
            part.path("ca_file", into: &self.tls.caFile)
            part.path("certificate_file", into: &self.tls.certificateFile)
            part.path("key_file", into: &self.tls.keyFile)
            part.path("key_password_file", into: &self.tls.keyPasswordFile)
            part.text("server_name", into: &self.tls.serverName)
            part.choice("verify", into: &self.tls.verify)
            if (self.tls.certificateFile == nil) != (self.tls.keyFile == nil) {
                part.report("key_file", "and certificate_file belong together; name both or none")
            }
            if isSingle, isEnabled != self.url.usesTLS {
                let scheme = isEnabled ? "rediss" : "redis"
                part.report("enabled", "contradicts url; write \(scheme):// there")
            }
        }
        if isSingle, isThere, !self.url.usesTLS {
            section.report("tls", "has no effect with redis://; write rediss:// in url")
        }
        self.url.usesTLS = isEnabled
    }
}
