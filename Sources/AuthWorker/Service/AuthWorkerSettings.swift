import Common

/// What the auth worker makes of the configuration before it opens anything: templates taken apart, mistakes found.
package struct AuthWorkerSettings {
    package let command: CommandSet
    package let ruleSets: [[UInt8]: RuleTemplate]
    package let redis: RedisClient.Settings

    /// - Throws: `ConfigurationMistake`, `TemplateError` or the reason why the password file cannot be read.
    package init(_ configuration: Configuration, name: String) throws {
        let authentication = configuration.authentication
        self.command = try authentication.commands()
        var ruleSets: [[UInt8]: RuleTemplate] = [:]
        for set in configuration.authorization.ruleSets {
            ruleSets[Array(set.name.utf8)] = try RuleTemplate(set, noMatch: configuration.authorization.noMatch)
        }
        self.ruleSets = ruleSets
        self.redis = RedisClient.Settings(
            user: authentication.redis.url.user.map { Array($0.utf8) },
            password: try authentication.redis.passwordFile.map { try Self.firstLine($0) },
            database: authentication.redis.url.database,
            clientName: "martlet-\(name)",
            connectTimeoutNanoseconds: authentication.redis.connectTimeoutNanoseconds,
            queryTimeoutNanoseconds: authentication.redis.queryTimeoutNanoseconds,
            pipelineMax: authentication.redis.pipelineMax,
            queueMax: authentication.redis.queueMax
        )
    }

    private static func firstLine(_ path: String) throws(ConfigurationMistake) -> [UInt8] {
        let bytes: [UInt8]
        do {
            bytes = try Configuration.readFile(path, bytesMax: 4096)
        } catch {
            throw ConfigurationMistake("authentication.redis.password_file \(path) is \(error.message)")
        }
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty else {
            throw ConfigurationMistake("authentication.redis.password_file \(path) has an empty first line")
        }
        return Array(line)
    }

    static func authenticatorSettings(_ whole: Configuration) -> Authenticator.Settings {
        let configuration = whole.authentication
        let cache = configuration.cache
        return Authenticator.Settings(
            positiveTTLNanoseconds: cache.enabled ? Int64(clamping: cache.positiveTTLNanoseconds) : 0,
            staleMaxNanoseconds: cache.enabled ? Int64(clamping: cache.staleMaxNanoseconds) : 0,
            negativeTTLNanoseconds: cache.enabled ? Int64(clamping: cache.negativeTTLNanoseconds) : 0,
            memoryEntries: cache.enabled ? cache.memoryEntries : 0,
            negativeEntries: cache.enabled ? cache.negativeEntries : 0,
            waitersMax: configuration.redis.queueMax,
            readsCache: cache.enabled,
            accessRows: whole.authorization.accessRows
        )
    }
}
