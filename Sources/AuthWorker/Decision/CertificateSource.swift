import Common

/// The source for which the certificate that the listener has checked is enough.
struct CertificateSource {
    let ruleSets: [[UInt8]: RuleTemplate]
    private(set) var counters = AuthCounters()

    init(ruleSets: [[UInt8]: RuleTemplate]) {
        self.ruleSets = ruleSets
    }

    mutating func verdict(_ query: AuthQuery) -> AuthVerdict {
        self.counters.queries += 1
        let verdict = self.decide(query)
        self.counters.count(verdict)
        return verdict
    }

    private mutating func decide(_ query: AuthQuery) -> AuthVerdict {
        guard query.identity != nil else {
            return AuthVerdict(outcome: .deny, reason: .fieldMissing, detail: Array("a certificate is needed".utf8))
        }
        guard let rules = self.ruleSets[query.rulesName] else { return .withoutRules(query.rulesName) }
        let rendered = rules.render(for: ClientAttributes(query))
        self.counters.rulesDropped += UInt64(rendered.rulesDropped)
        return AuthVerdict(outcome: .allow, source: .certificate, access: rendered.access)
    }
}

extension AuthVerdict {
    /// Listener and auth worker were started with different configurations.
    static func withoutRules(_ name: [UInt8]) -> AuthVerdict {
        let name = String(decoding: name, as: UTF8.self)
        let detail = "there is no set of rules \"\(name)\" in the auth worker's configuration"
        return AuthVerdict(outcome: .unknown, reason: .rulesMissing, detail: Array(detail.utf8))
    }
}
