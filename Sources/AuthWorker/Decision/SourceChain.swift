import Common
import TLS

/// Several sources one after the other: the first that allows or denies decides. A source that does not know the client leaves the
/// decision to the next one; so does one that cannot say, if its configuration wants that. EMQX calls it an authentication chain.
///
/// A live session is judged by the source that let it in and those after it; a source before that one, which did not know the client then,
/// has its say where it can: while it cannot, what the others say counts. While the one that let the session in cannot say, nobody else
/// does.
///
/// It keeps the queries that are on their way through it, and nothing when there is one source alone.
struct SourceChain {
    /// What becomes of a verdict of one of the sources.
    enum Step: Equatable {
        case final(AuthVerdict, Consulted = Consulted())
        /// The source with this number is asked.
        case ask(source: Int, AuthQuery)
    }

    /// What a client that is let in depends on beside the key of its row.
    struct Consulted: Equatable {
        /// Of the keys that were looked up in the sources that left the decision to another one: with a row they would have decided. Then
        /// of the other keys that its answer was made from.
        var keyHashes: [UInt64] = []
        /// A change of one of them was announced after it was asked: the verdict may be too old.
        var hasChanged = false
    }

    struct Member: Equatable {
        var onFailure = Configuration.Authentication.OnFailure.stop
        /// Names of listeners; empty: all.
        var listeners: [[UInt8]] = []
        /// It looks clients up by what their certificates say.
        var asksForCertificate = false
    }

    private struct Pending {
        var query: AuthQuery
        var index: Int
        /// Of the sources that left the decision to others, the answer that says most.
        var best: SourceAnswer?
        /// What let a live session in: see `AuthAdmitted`. 0: it is a CONNECT, or nobody knows.
        var admittedBy: UInt64 = 0
        /// That source does not know the client any more.
        var isAdmissionGone = false
        var consulted = Consulted()
    }

    private let members: [Member]
    private var pending: [Authenticator.Request: Pending] = [:]

    init(_ members: [Member]) {
        self.members = members
    }

    var count: Int { self.pending.count }

    /// What listeners and the chain know a row by: the same key in two sources is two rows. That of the first source, and of a single one,
    /// is that of the key alone, as in earlier releases.
    static func keyHash(_ hash: UInt64, of source: Int) -> UInt64 {
        guard hash != 0, source > 0 else { return hash }
        let mixed = (hash ^ UInt64(truncatingIfNeeded: source)) &* 0x9E37_79B9_7F4A_7C15
        return mixed == 0 ? 1 : mixed
    }

    private func firstMember(from start: Int, for query: AuthQuery) -> Int? {
        self.members.indices[start...].first { index in
            let listeners = self.members[index].listeners
            return listeners.isEmpty || listeners.contains(query.listenerName)
        }
    }

    /// The first source to ask.
    /// - Parameter admittedBy: for a live session, the hash of the key that let it in.
    mutating func begin(_ query: AuthQuery, _ request: Authenticator.Request, admittedBy: UInt64 = 0) -> Step {
        guard let first = self.firstMember(from: 0, for: query) else {
            let name = String(decoding: query.listenerName, as: UTF8.self)
            let detail = "no source is asked about clients of the listener \"\(name)\""
            return .final(AuthVerdict(outcome: .deny, reason: .noSuchDevice, detail: Array(detail.utf8)))
        }
        if self.members.count > 1 {
            self.pending[request] = Pending(query: query, index: first, admittedBy: admittedBy)
        }
        return .ask(source: first, query)
    }

    /// A source's answer with what tells how much it says.
    func answer(of source: Int, _ verdict: AuthVerdict) -> SourceAnswer {
        SourceAnswer(source: source, verdict: verdict, isByCertificate: self.members[source].asksForCertificate)
    }

    /// A source has answered.
    mutating func answered(_ request: Authenticator.Request, _ verdict: AuthVerdict) -> Step {
        guard self.members.count > 1, var pending = self.pending.removeValue(forKey: request) else {
            let isAllowed = verdict.outcome == .allow
            return .final(verdict, Consulted(keyHashes: isAllowed ? verdict.relatedKeyHashes : []))
        }
        if verdict.outcome != .allow, verdict.keyHash != 0 { pending.consulted.keyHashes.append(verdict.keyHash) }
        pending.consulted.keyHashes += verdict.relatedKeyHashes
        switch verdict.outcome {
        case .allow:
            return self.end(&pending, self.provisional(verdict, pending))
        case .unknown:
            guard self.maySkip(pending, verdict) else { return self.end(&pending, verdict) }
        case .deny:
            guard verdict.reason.leavesDecisionToOthers else { return self.end(&pending, verdict) }
            if pending.admittedBy != 0, verdict.keyHash == pending.admittedBy, !pending.isAdmissionGone {
                // Those before it had no part in letting the session in.
                pending.isAdmissionGone = true
                pending.best = nil
            }
        }
        let answers = [pending.best, self.answer(of: pending.index, verdict)].compactMap { $0 }
        pending.best = SourceAnswer.explaining(answers)
        guard let next = self.firstMember(from: pending.index + 1, for: pending.query) else {
            // Nobody denies who was not asked everywhere.
            return self.end(&pending, pending.best?.verdict ?? verdict)
        }
        pending.index = next
        self.pending[request] = pending
        return .ask(source: next, pending.query)
    }

    /// Whether the sources after one that cannot say are asked.
    private func maySkip(_ pending: Pending, _ verdict: AuthVerdict) -> Bool {
        if pending.admittedBy != 0, !pending.isAdmissionGone {
            // What let a session in may still know the client; those before it did not.
            return verdict.keyHash != pending.admittedBy
        }
        // It cannot say now, and did not know the client when it could.
        let wasAbsent = verdict.source == .staleCache
        return wasAbsent || self.members[pending.index].onFailure == .next
    }

    /// A live session stays by this verdict; a source that could not say may know the client by now, and is to be asked again.
    private func provisional(_ verdict: AuthVerdict, _ pending: Pending) -> AuthVerdict {
        guard pending.admittedBy != 0, let best = pending.best?.verdict, best.outcome == .unknown else {
            return verdict
        }
        var verdict = verdict
        verdict.reason = best.reason
        return verdict
    }

    private func end(_ pending: inout Pending, _ verdict: AuthVerdict) -> Step {
        if var password = pending.query.password.take() { wipe(&password) }
        return .final(verdict, verdict.outcome == .allow ? pending.consulted : Consulted())
    }

    /// Rows were announced as changed; nil: nobody knows which. Sources that were asked about them already are not asked again here:
    /// the verdict says so, and the listener asks.
    mutating func changed(_ keyHashes: [UInt64]?) {
        guard !self.pending.isEmpty else { return }
        let changed = keyHashes.map { Set($0) }
        for (request, pending) in self.pending where !pending.consulted.hasChanged {
            let hashes = pending.consulted.keyHashes
            if changed.map({ changed in hashes.contains { changed.contains($0) } }) ?? !hashes.isEmpty {
                self.pending[request]?.consulted.hasChanged = true
            }
        }
    }
}

extension AuthVerdict.Reason {
    /// The source does not know the client, or the client does not have what the source asks for.
    fileprivate var leavesDecisionToOthers: Bool {
        switch self {
        case .noSuchDevice, .passwordMissing, .fieldMissing: true
        case .none, .wrongPassword, .fieldNotAllowed, .deviceDisabled, .redisUnavailable, .redisError, .overloaded,
            .deviceFileUnavailable, .rulesMissing, .certificateMissing, .rowTooLong, .rowUnusable:
            false
        }
    }
}
