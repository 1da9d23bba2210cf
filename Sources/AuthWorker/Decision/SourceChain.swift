import Common
import TLS

/// Several sources one after the other: the first that allows or denies decides. A source that does not know the client leaves the
/// decision to the next one; so does one that cannot say, if its configuration wants that. EMQX calls it an authentication chain.
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
        var consulted = Consulted()
    }

    private let members: [Member]
    private var pending: [Authenticator.Request: Pending] = [:]

    init(_ members: [Member]) {
        self.members = members
    }

    var count: Int { self.pending.count }

    private func firstMember(from start: Int, for query: AuthQuery) -> Int? {
        self.members.indices[start...].first { index in
            let listeners = self.members[index].listeners
            return listeners.isEmpty || listeners.contains(query.listenerName)
        }
    }

    /// The first source to ask.
    mutating func begin(_ query: AuthQuery, _ request: Authenticator.Request) -> Step {
        guard let first = self.firstMember(from: 0, for: query) else {
            let name = String(decoding: query.listenerName, as: UTF8.self)
            let detail = "no source is asked about clients of the listener \"\(name)\""
            return .final(AuthVerdict(outcome: .deny, reason: .noSuchDevice, detail: Array(detail.utf8)))
        }
        if self.members.count > 1 { self.pending[request] = Pending(query: query, index: first) }
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
            return self.end(&pending, verdict)
        case .unknown:
            // It cannot say now, and did not know the client when it could.
            let wasAbsent = verdict.source == .staleCache
            guard wasAbsent || self.members[pending.index].onFailure == .next else {
                return self.end(&pending, verdict)
            }
        case .deny:
            guard verdict.reason.leavesDecisionToOthers else { return self.end(&pending, verdict) }
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
            .deviceFileUnavailable, .rulesMissing, .certificateMissing:
            false
        }
    }
}
