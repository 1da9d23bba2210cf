import Common
import Testing

@testable import AuthWorker

/// Which of several sources' answers explains a decision.
@Suite struct SourceAnswerTests {
    private static func answer(
        _ source: Int,
        _ reason: AuthVerdict.Reason,
        byCertificate: Bool = false,
        outcome: AuthVerdict.Outcome = .deny,
        detail: String = ""
    ) -> SourceAnswer {
        let verdict = AuthVerdict(outcome: outcome, reason: reason, detail: Array(detail.utf8))
        return SourceAnswer(source: source, verdict: verdict, isByCertificate: byCertificate)
    }

    private static let cases: [(answers: [SourceAnswer], explaining: Int)] = [
        ([answer(0, .passwordMissing, byCertificate: true), answer(1, .fieldMissing)], 0),
        (
            [
                answer(0, .passwordMissing, byCertificate: true), answer(1, .noSuchDevice, byCertificate: true),
                answer(2, .fieldMissing),
            ], 0
        ),
        ([answer(0, .fieldMissing, byCertificate: true), answer(1, .noSuchDevice)], 1),
        ([answer(0, .noSuchDevice), answer(1, .noSuchDevice, byCertificate: true), answer(2, .noSuchDevice)], 1),
        ([answer(0, .noSuchDevice, byCertificate: true), answer(1, .passwordMissing)], 0),
        ([answer(0, .noSuchDevice), answer(1, .noSuchDevice)], 0),
        ([answer(0, .noSuchDevice, byCertificate: true), answer(1, .wrongPassword)], 1),
        ([answer(0, .redisUnavailable, outcome: .unknown), answer(1, .noSuchDevice, byCertificate: true)], 0),
        ([answer(0, .redisUnavailable, outcome: .unknown), answer(1, .wrongPassword)], 1),
        ([answer(0, .noSuchDevice, byCertificate: true), answer(1, .none, outcome: .allow)], 1),
    ]

    /// It was the last one.
    @Test("Regression: what explains a decision is the source that knows most of the client", arguments: 0..<10)
    func explaining(_ index: Int) {
        let (answers, explaining) = Self.cases[index]
        #expect(SourceAnswer.explaining(answers)?.source == explaining)
    }

    @Test("A chain answers what its most telling source said")
    func chain() {
        var chain = SourceChain([.init(asksForCertificate: true), .init(asksForCertificate: true), .init()])
        let request = Authenticator.Request(link: 1, handle: 7)
        let query = AuthQuery(
            listenerName: Array("devices".utf8),
            rulesName: [],
            peerAddress: [],
            version: .v5_0,
            identity: nil,
            clientIdentifier: [],
            userName: nil,
            password: nil
        )
        _ = chain.begin(query, request)
        let missing = AuthVerdict(outcome: .deny, reason: .passwordMissing)
        _ = chain.answered(request, missing)
        _ = chain.answered(request, AuthVerdict(outcome: .deny, reason: .noSuchDevice))
        #expect(chain.answered(request, AuthVerdict(outcome: .deny, reason: .fieldMissing)) == .final(missing))
    }

    @Test("The log's line names each source, and is bounded whatever they say")
    func account() {
        let answers = [
            Self.answer(0, .passwordMissing), Self.answer(1, .fieldMissing, detail: "the look-up needs a user name"),
        ]
        let text = SourceAnswer.account(answers, names: ["devices", "applications"])
        #expect(
            String(decoding: text, as: UTF8.self)
                == "devices: password-missing; applications: field-missing, the look-up needs a user name"
        )
        let long = (0..<16).map { Self.answer($0, .redisError, detail: String(repeating: "é", count: 5000)) }
        let bounded = SourceAnswer.account(long, names: (0..<16).map { "source-\($0)" })
        #expect(bounded.count <= 1024 + 3)
        #expect(Array(String(decoding: bounded, as: UTF8.self).utf8) == bounded)
        #expect(!String(decoding: bounded, as: UTF8.self).contains("\u{FFFD}"))
    }
}
