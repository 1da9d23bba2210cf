import Common

/// What the auth worker makes of the configuration before it opens anything: templates taken apart, mistakes found.
package struct AuthWorkerSettings {
    package let ruleSets: [[UInt8]: RuleTemplate]
    /// One for each source; nil where nothing is looked up in Redis.
    package let redisSources: [RedisSourceSettings?]
    /// One for each source; nil for those that are not embedded.
    package let embeddedSources: [EmbeddedSourceSettings?]

    /// - Throws: `ConfigurationMistake`, `TemplateError` or the reason why the password file cannot be read.
    package init(_ configuration: Configuration, name: String) throws {
        var ruleSets: [[UInt8]: RuleTemplate] = [:]
        for set in configuration.authorization.ruleSets {
            ruleSets[Array(set.name.utf8)] = try RuleTemplate(set, noMatch: configuration.authorization.noMatch)
        }
        self.ruleSets = ruleSets
        self.embeddedSources = try configuration.authentication.sources.map { source in
            guard source.kind == .embedded else { return nil }
            return try EmbeddedSourceSettings(
                source,
                ruleSets: ruleSets,
                accessRows: configuration.authorization.accessRows
            )
        }
        self.redisSources = try configuration.authentication.sources.map { source in
            guard source.kind == .redis else { return nil }
            return try RedisSourceSettings(
                source,
                ruleSets: ruleSets,
                accessRows: configuration.authorization.accessRows,
                worker: name
            )
        }
    }
}
