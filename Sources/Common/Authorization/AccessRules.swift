/// What a client may publish and subscribe to, as the authentication verdict gave it.
package struct AccessRules: Equatable, Sendable {
    /// Superusers may do everything; the rules are not looked at.
    package var isSuperuser: Bool
    package var rules: [AccessRule]
    /// What applies when no rule matches.
    package var noMatch: AccessRule.Permission

    package init(isSuperuser: Bool = false, rules: [AccessRule] = [], noMatch: AccessRule.Permission) {
        self.isSuperuser = isSuperuser
        self.rules = rules
        self.noMatch = noMatch
    }

    package static let allowEverything = AccessRules(isSuperuser: true, noMatch: .allow)
}
