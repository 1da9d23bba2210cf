import Common

/// A query, and the decision once it was made, for whoever asks why. Holds no password. Thousands of them are kept and hardly ever
/// read: the query is kept as its bytes, in one piece of memory instead of a dozen.
final class DecisionRecord {
    /// What was decided, without the rules themselves.
    struct Decision {
        var outcome: AuthVerdict.Outcome
        var reason: AuthVerdict.Reason
        var source: AuthVerdict.Source
        var detail: [UInt8]
        var isSuperuser: Bool
        var rules: Int
        var noMatch: AccessRule.Permission
    }

    private let queryBytes: [UInt8]
    let startedAt: Instant
    /// The source that was asked last, and, once decided, the one whose answer explains the decision. Nil: none was asked.
    var source: Int?
    /// What each source said, in their order; empty where there is only one.
    private(set) var answers: [SourceAnswer] = []
    private(set) var wallNanoseconds: UInt64 = 0
    /// From the query to the verdict.
    private(set) var tookNanoseconds: UInt64 = 0
    /// Nil: not yet.
    private(set) var decision: Decision?

    /// - Parameter scratch: memory that the caller keeps for it.
    init(_ query: AuthQuery, scratch: inout ByteBuffer, now: Instant) {
        scratch.clear()
        query.encodeBody(into: &scratch, password: nil)
        self.queryBytes = scratch.array
        self.startedAt = now
    }

    /// Without its password.
    var query: AuthQuery? { self.queryBytes.withUnsafeBytes { AuthQuery.decode($0) } }

    func heard(_ answer: SourceAnswer) {
        var answer = answer
        // Rules of a thousand lines are not needed to tell why.
        answer.verdict.access = AccessRules(noMatch: answer.verdict.access.noMatch)
        self.answers.append(answer)
    }

    func decide(_ verdict: AuthVerdict, now: Instant, wallNanoseconds: UInt64) {
        self.decision = Decision(
            outcome: verdict.outcome,
            reason: verdict.reason,
            source: verdict.source,
            detail: verdict.detail,
            isSuperuser: verdict.access.isSuperuser,
            rules: verdict.access.rules.count,
            noMatch: verdict.access.noMatch
        )
        if let explaining = SourceAnswer.explaining(self.answers.filter { $0.verdict.outcome == verdict.outcome }) {
            self.source = explaining.source
        }
        self.tookNanoseconds = now &- self.startedAt
        self.wallNanoseconds = wallNanoseconds
    }
}
