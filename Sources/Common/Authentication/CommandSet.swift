/// What Redis is asked about one device: the row with its password, and, where configured, whether it is a superuser and what
/// it may do. All travel in one pipeline.
package struct CommandSet: Equatable, Sendable {
    package struct Rendered: Equatable, Sendable {
        package var key: LookupKey
        /// The arguments of each command, the row's first.
        package var commands: [[[UInt8]]]

        package init(key: LookupKey, commands: [[[UInt8]]]) {
            self.key = key
            self.commands = commands
        }
    }

    package let row: CommandTemplate
    package let superuser: CommandTemplate?
    package let access: CommandTemplate?

    package init(row: CommandTemplate, superuser: CommandTemplate? = nil, access: CommandTemplate? = nil) {
        self.row = row
        self.superuser = superuser
        self.access = access
    }

    /// - Throws: `ConfigurationMistake` with a sentence for whoever wrote the commands.
    package init(
        command: String,
        superCommand: String? = nil,
        accessCommand: String? = nil,
        passwordHash: PasswordHash
    ) throws(ConfigurationMistake) {
        let purpose: CommandTemplate.Purpose = passwordHash.needsPassword ? .credentials : .existence
        self.row = try CommandTemplate(command, purpose: purpose)
        if !self.row.isPositional, passwordHash.needsPassword {
            try passwordHash.check(asksForSalt: self.row.asksForSalt)
        }
        var superuser: CommandTemplate?
        if let superCommand { superuser = try CommandTemplate(superCommand, purpose: .superuser) }
        self.superuser = superuser
        var access: CommandTemplate?
        if let accessCommand { access = try CommandTemplate(accessCommand, purpose: .access) }
        self.access = access
    }

    package var all: [CommandTemplate] { [self.row] + [self.superuser, self.access].compactMap { $0 } }

    package var placeholders: [Placeholder] { self.all.flatMap(\.placeholders) }

    /// What the keys of all commands begin with.
    package var keyPrefixes: [[UInt8]] { self.all.map(\.keyPrefix) }

    /// A row may be made from more keys than its own.
    package var asksForFurtherKeys: Bool { self.superuser != nil || self.access != nil }

    /// No two look-ups have one Redis key.
    package var hasOneKeyPerRedisKey: Bool { self.all.count == 1 && self.row.hasOneKeyPerRedisKey }

    package func render(_ client: ClientAttributes) throws(TemplateText.RenderFailure) -> Rendered {
        let row = try self.row.render(client)
        guard self.asksForFurtherKeys else { return Rendered(key: row.key, commands: [row.arguments]) }
        var commands = [row.arguments]
        var variant = row.key.variant
        var relatedKeys: [[UInt8]] = []
        for command in self.all.dropFirst() {
            let other = try command.render(client)
            commands.append(other.arguments)
            if other.key.redisKey != row.key.redisKey { relatedKeys.append(other.key.redisKey) }
            LookupKey.append(other.key.redisKey, to: &variant)
            LookupKey.append(other.key.variant, to: &variant)
        }
        let key = LookupKey(redisKey: row.key.redisKey, variant: variant, relatedKeys: relatedKeys)
        return Rendered(key: key, commands: commands)
    }
}
