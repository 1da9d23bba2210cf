/// What Redis is asked about one device: the row with its password, and, where configured, whether it is a superuser and what
/// it may do. All travel in one pipeline.
public struct CommandSet: Equatable, Sendable {
    public struct Rendered: Equatable, Sendable {
        public var key: LookupKey
        /// The arguments of each command, the row's first.
        public var commands: [[[UInt8]]]

        public init(key: LookupKey, commands: [[[UInt8]]]) {
            self.key = key
            self.commands = commands
        }
    }

    public let row: CommandTemplate
    public let superuser: CommandTemplate?
    public let access: CommandTemplate?

    public init(row: CommandTemplate, superuser: CommandTemplate? = nil, access: CommandTemplate? = nil) {
        self.row = row
        self.superuser = superuser
        self.access = access
    }

    /// - Throws: `ConfigurationMistake` with a sentence for whoever wrote the commands.
    public init(
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

    public var all: [CommandTemplate] { [self.row] + [self.superuser, self.access].compactMap { $0 } }

    /// Of `all`.
    public var count: Int { 1 + (self.superuser == nil ? 0 : 1) + (self.access == nil ? 0 : 1) }

    public var placeholders: [Placeholder] { self.all.flatMap(\.placeholders) }

    /// What the keys of all commands begin with.
    public var keyPrefixes: [[UInt8]] { self.all.flatMap(\.keyPrefixes) }

    /// A row may be made from more keys than its own.
    public var hasRelatedKeys: Bool { self.asksForFurtherKeys || self.row.hasFurtherKeys }

    /// There is more than one command.
    public var asksForFurtherKeys: Bool { self.superuser != nil || self.access != nil }

    /// No two look-ups have one Redis key.
    public var hasOneKeyPerRedisKey: Bool { self.all.count == 1 && self.row.hasOneKeyPerRedisKey }

    public func render(_ client: ClientAttributes) throws(TemplateText.RenderFailure) -> Rendered {
        let row = try self.row.render(client)
        guard self.asksForFurtherKeys else { return Rendered(key: row.key, commands: [row.arguments]) }
        var commands = [row.arguments]
        var variant = row.key.variant
        var relatedKeys = row.key.relatedKeys
        for command in self.all.dropFirst() {
            let other = try command.render(client)
            commands.append(other.arguments)
            if other.key.redisKey != row.key.redisKey { relatedKeys.append(other.key.redisKey) }
            relatedKeys += other.key.relatedKeys
            LookupKey.append(other.key.redisKey, to: &variant)
            LookupKey.append(other.key.variant, to: &variant)
        }
        let key = LookupKey(redisKey: row.key.redisKey, variant: variant, relatedKeys: relatedKeys)
        return Rendered(key: key, commands: commands)
    }
}
