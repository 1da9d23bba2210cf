import Common

package struct AuthCounters: Equatable, Sendable {
    package var queries: UInt64 = 0
    package var allowedByRedis: UInt64 = 0
    package var allowedByCertificate: UInt64 = 0
    package var allowedByMemory: UInt64 = 0
    package var allowedByDisk: UInt64 = 0
    package var allowedStale: UInt64 = 0
    /// Of these: because Redis took longer than `stale_after`.
    package var allowedEarly: UInt64 = 0
    /// By reason.
    package var denied: [AuthVerdict.Reason: UInt64] = [:]
    /// By reason.
    package var unknown: [AuthVerdict.Reason: UInt64] = [:]
    /// Look-ups asked of Redis.
    package var lookups: UInt64 = 0
    /// Queries that shared a look-up that was under way.
    package var joined: UInt64 = 0
    /// Passwords handed to the threads for bcrypt and PBKDF2.
    package var slowChecks: UInt64 = 0
    /// Of these: not compared, as they had waited for so long that their clients were refused.
    package var slowChecksDropped: UInt64 = 0
    /// Look-ups made before a row in use expires.
    package var revalidations: UInt64 = 0
    /// Look-ups made once more, as another worker was told of a change at the same time.
    package var refetches: UInt64 = 0
    /// Rules that were left out of verdicts: see `RuleTemplate`.
    package var rulesDropped: UInt64 = 0
}

extension AuthCounters {
    mutating func count(_ verdict: AuthVerdict) {
        switch verdict.outcome {
        case .deny: self.denied[verdict.reason, default: 0] += 1
        case .unknown: self.unknown[verdict.reason, default: 0] += 1
        case .allow:
            switch verdict.source {
            case .none, .redis, .embedded: self.allowedByRedis += 1
            case .certificate: self.allowedByCertificate += 1
            case .memoryCache: self.allowedByMemory += 1
            case .diskCache: self.allowedByDisk += 1
            case .staleCache: self.allowedStale += 1
            }
        }
    }

    /// Those that there were, by reason.
    func reportRefusals(into report: inout StatusReport) {
        for reason in AuthVerdict.Reason.allCases {
            if let count = self.denied[reason] { report.add("denied{reason=\"\(reason)\"}", count) }
        }
        for reason in AuthVerdict.Reason.allCases {
            if let count = self.unknown[reason] { report.add("unknown{reason=\"\(reason)\"}", count) }
        }
    }
}
