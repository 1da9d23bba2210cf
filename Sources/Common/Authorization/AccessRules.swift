/// What a client may publish and subscribe to, as the authentication verdict gave it.
public struct AccessRules: Equatable, Sendable {
    /// Superusers may do everything; the rules are not looked at.
    public var isSuperuser: Bool
    public var rules: [AccessRule]
    /// What applies when no rule matches.
    public var noMatch: AccessRule.Permission

    public init(isSuperuser: Bool = false, rules: [AccessRule] = [], noMatch: AccessRule.Permission) {
        self.isSuperuser = isSuperuser
        self.rules = rules
        self.noMatch = noMatch
    }

    public static let allowEverything = AccessRules(isSuperuser: true, noMatch: .allow)
}
