import Common

/// What a client may do: the rules of its listener, and the rows that Redis has of it.
extension Authenticator {
    mutating func access(_ waiter: Waiter, _ entry: Entry) -> AccessRules {
        let rendered = waiter.rules.render(for: waiter.client)
        self.counters.rulesDropped += UInt64(rendered.rulesDropped)
        guard let rows = entry.accessRules else { return rendered.access }
        let own = rows.render(for: waiter.client)
        self.counters.rulesDropped += UInt64(own?.dropped ?? 1)
        return Self.combined(rendered, rows: own?.rules, self.settings.accessRows)
    }

    /// - Parameter rows: nil: they may be meant to deny, so that none of them, and nothing behind them, allows anything.
    private static func combined(
        _ rendered: RuleTemplate.Rendered,
        rows: [AccessRule]?,
        _ order: Configuration.Authorization.AccessRows
    ) -> AccessRules {
        var access = rendered.access
        switch order {
        case .first:
            guard let rows else { return AccessRules(noMatch: .deny) }
            access.rules = rows + access.rules
        case .last:
            // Rows must not allow what a rule that could not be filled in was there to deny.
            guard !rendered.deniesRest else { return access }
            guard let rows else { return AccessRules(rules: access.rules, noMatch: .deny) }
            access.rules += rows
        case .only:
            return AccessRules(rules: rows ?? [], noMatch: .deny)
        }
        return access
    }
}
