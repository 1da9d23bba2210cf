import AuthCache
import Common
import TLS

/// One Redis source of the configuration, its templates taken apart.
package struct RedisSourceSettings {
    package let source: Configuration.Authentication.Source
    package let command: CommandSet
    package let ruleSets: [[UInt8]: RuleTemplate]
    /// Without a password as long as its file cannot be read: a worker that starts serves from its cache, see `RedisSecret`.
    package let redis: RedisClient.Settings
    /// For connections to Sentinels, whose credentials are their own.
    package let sentinel: RedisClient.Settings
    package let tls: TLSClientConfiguration
    package let authenticator: Authenticator.Settings

    package init(
        _ source: Configuration.Authentication.Source,
        ruleSets: [[UInt8]: RuleTemplate],
        accessRows: Configuration.Authorization.AccessRows,
        worker: String
    ) throws {
        self.source = source
        self.command = try source.commands()
        try PasswordCheck.checkAvailability(of: source.passwordHash)
        self.ruleSets = ruleSets
        self.redis = RedisClient.Settings(
            user: source.redis.url.user.map { Array($0.utf8) },
            password: source.redis.passwordFile.flatMap { try? Self.firstLine($0) },
            database: source.redis.url.database,
            clientName: "martlet-\(worker)",
            connectTimeoutNanoseconds: source.redis.connectTimeoutNanoseconds,
            queryTimeoutNanoseconds: source.redis.queryTimeoutNanoseconds,
            pipelineMax: source.redis.pipelineMax,
            queueMax: source.redis.queueMax,
            needsMaster: source.redis.topology.isSentinel
        )
        self.sentinel = Self.sentinelSettings(source, self.redis)
        self.tls = TLSClientConfiguration(source.redis.tls)
        let cache = source.cache
        self.authenticator = Authenticator.Settings(
            positiveTTLNanoseconds: cache.enabled ? Int64(clamping: cache.positiveTTLNanoseconds) : 0,
            staleMaxNanoseconds: cache.enabled ? Int64(clamping: cache.staleMaxNanoseconds) : 0,
            negativeTTLNanoseconds: cache.enabled ? Int64(clamping: cache.negativeTTLNanoseconds) : 0,
            staleAfterNanoseconds: Int64(clamping: cache.staleAfterNanoseconds),
            memoryEntries: cache.enabled ? cache.memoryEntries : 0,
            negativeEntries: cache.enabled ? cache.negativeEntries : 0,
            waitersMax: source.redis.queueMax,
            readsCache: cache.enabled,
            accessRows: accessRows
        )
    }

    private static func sentinelSettings(
        _ source: Configuration.Authentication.Source,
        _ redis: RedisClient.Settings
    ) -> RedisClient.Settings {
        var settings = redis
        settings.user = nil
        settings.password = nil
        settings.database = 0
        guard case .sentinel(let sentinel) = source.redis.topology else { return settings }
        settings.user = sentinel.user.map { Array($0.utf8) }
        settings.password = sentinel.passwordFile.flatMap { try? Self.firstLine($0) }
        return settings
    }

    /// Tells its rows in the cache from those of others.
    func cacheTag(hostKey: [UInt8]) -> [UInt8] {
        CredentialSource.tag(of: self.source, hostKey: hostKey)
    }

    static func firstLine(_ path: String) throws(ConfigurationMistake) -> [UInt8] {
        do {
            return try Configuration.readPassword(path)
        } catch {
            throw ConfigurationMistake("\(path), the file of a password for Redis: \(error.message)")
        }
    }
}
