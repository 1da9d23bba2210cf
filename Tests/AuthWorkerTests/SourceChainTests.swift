import Common
import Testing

@testable import AuthWorker

@Suite struct SourceChainTests {
    private let request = Authenticator.Request(link: 1, handle: 7)
    private let query = AuthQuery(
        listenerName: Array("devices".utf8),
        rulesName: Array("default".utf8),
        peerAddress: Array("192.0.2.1".utf8),
        version: .v5_0,
        identity: nil,
        clientIdentifier: Array("client".utf8),
        userName: nil,
        password: Array("secret".utf8)
    )

    private func deny(_ reason: AuthVerdict.Reason) -> AuthVerdict { AuthVerdict(outcome: .deny, reason: reason) }
    private let allow = AuthVerdict(outcome: .allow, source: .redis)
    private let unknown = AuthVerdict(outcome: .unknown, reason: .redisUnavailable)

    private func index(_ step: SourceChain.Step) -> Int? {
        if case .ask(let source, _) = step { source } else { nil }
    }

    @Test func oneSourceAloneDecidesAndNothingIsKept() {
        var chain = SourceChain([.init()])
        #expect(self.index(chain.begin(self.query, self.request)) == 0)
        #expect(chain.count == 0)
        #expect(chain.answered(self.request, self.deny(.noSuchDevice)) == .final(self.deny(.noSuchDevice)))
    }

    @Test(arguments: [AuthVerdict.Reason.noSuchDevice, .passwordMissing, .fieldMissing])
    func whoIsNotKnownIsLookedUpInTheNextSource(_ reason: AuthVerdict.Reason) {
        var chain = SourceChain([.init(), .init()])
        #expect(self.index(chain.begin(self.query, self.request)) == 0)
        let step = chain.answered(self.request, self.deny(reason))
        guard case .ask(1, let query) = step else { return #expect(Bool(false), "\(step)") }
        #expect(query.password == Array("secret".utf8))
        #expect(chain.answered(self.request, self.allow) == .final(self.allow))
        #expect(chain.count == 0)
    }

    @Test(arguments: [AuthVerdict.Reason.wrongPassword, .fieldNotAllowed])
    func aWrongPasswordStops(_ reason: AuthVerdict.Reason) {
        var chain = SourceChain([.init(), .init()])
        _ = chain.begin(self.query, self.request)
        #expect(chain.answered(self.request, self.deny(reason)) == .final(self.deny(reason)))
        #expect(chain.count == 0)
    }

    @Test func aSourceThatCannotSayStops() {
        var chain = SourceChain([.init(), .init()])
        _ = chain.begin(self.query, self.request)
        #expect(chain.answered(self.request, self.unknown) == .final(self.unknown))
    }

    /// In each outage devices of the second source were refused as soon as the first one's "no such device" was over.
    @Test func aSourceThatCannotSayLeavesWhomItDidNotKnowToTheNext() {
        var chain = SourceChain([.init(), .init()])
        let absent = AuthVerdict(outcome: .unknown, reason: .redisUnavailable, source: .staleCache, keyHash: 11)
        _ = chain.begin(self.query, self.request)
        #expect(self.index(chain.answered(self.request, absent)) == 1)
        #expect(chain.answered(self.request, self.allow) == .final(self.allow, .init(keyHashes: [11])))
        // It is no denial: it may know the client by now.
        _ = chain.begin(self.query, self.request)
        _ = chain.answered(self.request, absent)
        #expect(chain.answered(self.request, self.deny(.noSuchDevice)) == .final(absent))
    }

    @Test func whoIsLetInIsKnownByTheKeysOfAllThatWereAsked() {
        var chain = SourceChain([.init(), .init(), .init()])
        _ = chain.begin(self.query, self.request)
        _ = chain.answered(self.request, AuthVerdict(outcome: .deny, reason: .noSuchDevice, keyHash: 11))
        chain.changed([99])
        _ = chain.answered(self.request, AuthVerdict(outcome: .deny, reason: .noSuchDevice, keyHash: 12))
        let allow = AuthVerdict(outcome: .allow, source: .redis, keyHash: 13)
        #expect(chain.answered(self.request, allow) == .final(allow, .init(keyHashes: [11, 12])))
    }

    @Test func whoIsLetInIsKnownByTheOtherKeysOfTheAnswerToo() {
        let allow = AuthVerdict(outcome: .allow, source: .redis, keyHash: 13, relatedKeyHashes: [14])
        var single = SourceChain([.init()])
        _ = single.begin(self.query, self.request)
        #expect(single.answered(self.request, allow) == .final(allow, .init(keyHashes: [14])))
        var chain = SourceChain([.init(), .init()])
        _ = chain.begin(self.query, self.request)
        let deny = AuthVerdict(outcome: .deny, reason: .noSuchDevice, keyHash: 11, relatedKeyHashes: [12])
        _ = chain.answered(self.request, deny)
        #expect(chain.answered(self.request, allow) == .final(allow, .init(keyHashes: [11, 12, 14])))
    }

    @Test(arguments: [[11], nil] as [[UInt64]?])
    func aChangeBetweenTwoSourcesIsToldWithTheVerdict(_ changed: [UInt64]?) {
        var chain = SourceChain([.init(), .init()])
        _ = chain.begin(self.query, self.request)
        _ = chain.answered(self.request, AuthVerdict(outcome: .deny, reason: .noSuchDevice, keyHash: 11))
        chain.changed(changed)
        let consulted = SourceChain.Consulted(keyHashes: [11], hasChanged: true)
        #expect(chain.answered(self.request, self.allow) == .final(self.allow, consulted))
    }

    /// Who was not looked up everywhere is not told that nobody knows him: a live session would be closed for it.
    @Test func aSourceThatIsPassedOverLeavesUnknownBehind() {
        var chain = SourceChain([.init(onFailure: .next), .init()])
        _ = chain.begin(self.query, self.request)
        #expect(self.index(chain.answered(self.request, self.unknown)) == 1)
        #expect(chain.answered(self.request, self.deny(.noSuchDevice)) == .final(self.unknown))
        _ = chain.begin(self.query, self.request)
        _ = chain.answered(self.request, self.unknown)
        #expect(chain.answered(self.request, self.allow) == .final(self.allow))
    }

    // MARK: Live sessions

    private func denies(_ keyHash: UInt64, _ reason: AuthVerdict.Reason = .noSuchDevice) -> AuthVerdict {
        AuthVerdict(outcome: .deny, reason: reason, keyHash: keyHash)
    }
    private func cannotSay(_ keyHash: UInt64) -> AuthVerdict {
        AuthVerdict(outcome: .unknown, reason: .redisUnavailable, keyHash: keyHash)
    }
    private func allows(_ keyHash: UInt64) -> AuthVerdict {
        AuthVerdict(outcome: .allow, source: .embedded, keyHash: keyHash)
    }

    /// What the answers of the sources make of a live session that the key with the hash 12 let in.
    private func judge(_ members: [SourceChain.Member], _ answers: [AuthVerdict]) -> AuthVerdict? {
        var chain = SourceChain(members)
        var step = chain.begin(self.query, self.request, admittedBy: 12)
        for answer in answers {
            guard case .ask = step else { return nil }
            step = chain.answered(self.request, answer)
        }
        guard case .final(let verdict, _) = step else { return nil }
        return verdict
    }

    /// Its session stayed until a Redis was back that had never had its row.
    @Test(
        "Regression: while a source before it cannot say, the one that let a session in ends it",
        arguments: [Configuration.Authentication.OnFailure.stop, .next],
        [AuthVerdict.Reason.noSuchDevice, .deviceDisabled]
    )
    func sessionOfALaterSource(_ onFailure: Configuration.Authentication.OnFailure, _ reason: AuthVerdict.Reason) {
        let members = [SourceChain.Member(onFailure: onFailure), .init()]
        #expect(self.judge(members, [self.cannotSay(11), self.denies(12, reason)]) == self.denies(12, reason))
        // It stays; the first one is to be asked again, as it may know the client by now.
        var stays = self.allows(12)
        stays.reason = .redisUnavailable
        #expect(self.judge(members, [self.cannotSay(11), self.allows(12)]) == stays)
        #expect(self.judge(members, [self.denies(11), self.allows(12)]) == self.allows(12))
        #expect(self.judge(members, [self.cannotSay(11), self.cannotSay(12)]) == self.cannotSay(12))
    }

    @Test(
        "Regression: while the source that let a session in cannot say, no later one does",
        arguments: [Configuration.Authentication.OnFailure.stop, .next]
    )
    func sessionOfAnEarlierSource(_ onFailure: Configuration.Authentication.OnFailure) {
        let members = [SourceChain.Member(onFailure: onFailure), .init()]
        #expect(self.judge(members, [self.cannotSay(12)]) == self.cannotSay(12))
        #expect(self.judge(members, [self.denies(12), self.denies(13)]) == self.denies(12))
        #expect(self.judge(members, [self.denies(12), self.allows(13)]) == self.allows(13))
        // One that was never asked about the client may know it.
        #expect(self.judge(members, [self.denies(12), self.cannotSay(13)]) == self.cannotSay(13))
    }

    @Test func aSessionWhoseAdmissionIsNotAmongTheSourcesStaysWhileOneCannotSay() {
        #expect(
            self.judge([.init(), .init()], [self.cannotSay(11), self.denies(13)]) == self.cannotSay(11)
        )
    }

    @Test func theMostTellingDenialIsTheAnswer() {
        var chain = SourceChain([.init(), .init()])
        _ = chain.begin(self.query, self.request)
        _ = chain.answered(self.request, self.deny(.noSuchDevice))
        #expect(chain.answered(self.request, self.deny(.fieldMissing)) == .final(self.deny(.noSuchDevice)))
    }

    @Test func sourcesOfOtherListenersAreNotAsked() {
        let members = ["applications", "devices", "applications"].map {
            SourceChain.Member(listeners: [Array($0.utf8)])
        }
        var chain = SourceChain(members)
        #expect(self.index(chain.begin(self.query, self.request)) == 1)
        #expect(chain.answered(self.request, self.deny(.noSuchDevice)) == .final(self.deny(.noSuchDevice)))
        var other = self.query
        other.listenerName = Array("elsewhere".utf8)
        guard case .final(let verdict, _) = chain.begin(other, self.request) else {
            return #expect(Bool(false), "nobody should be asked")
        }
        #expect(verdict.outcome == .deny)
    }
}
