import Common

extension AccessRules {
    /// What is not among these filters is denied.
    static func allowing(_ filters: String...) -> AccessRules {
        AccessRules(
            rules: filters.map { AccessRule(permission: .allow, actions: .all, filter: Array($0.utf8)) },
            noMatch: .deny
        )
    }
}
