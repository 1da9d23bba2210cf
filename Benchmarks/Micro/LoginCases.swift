import AuthWorker
import BenchmarkSupport
import Common

enum LoginCases {
    private static let devices = 1000

    private static func authenticator() throws -> Authenticator {
        let set = Configuration.Authorization.RuleSet(
            name: "default",
            rules: [.init(permission: .allow, actions: .all, topics: [.init("devices/%C/#")])]
        )
        return Authenticator(
            settings: Authenticator.Settings(readsCache: false),
            command: CommandSet(row: try CommandTemplate("HMGET tls_domain:%C password")),
            checker: PasswordChecker(scheme: .plain, hostKey: [UInt8](repeating: 7, count: 32)),
            ruleSets: [Array("default".utf8): try RuleTemplate(set, noMatch: .deny)]
        )
    }

    /// From the query's bytes to the verdict's, with the row in memory.
    static func cached(_ iterations: Int) throws {
        try Self.run(iterations, keepsRows: true)
    }

    /// The same with Redis asked each time.
    static func fetched(_ iterations: Int) throws {
        try Self.run(iterations, keepsRows: false)
    }

    private static func run(_ iterations: Int, keepsRows: Bool) throws {
        var authenticator = try Self.authenticator()
        var queries: [[UInt8]] = []
        for number in 0..<Self.devices {
            var buffer = ByteBuffer()
            AuthQuery.sample(number).encode(into: &buffer, request: UInt64(number))
            queries.append(Array(buffer.readable[FrameHeader.byteCount...]))
        }
        var now = AuthTime(monotonic: 1_000_000_000, wallMilliseconds: 1_700_000_000_000)
        var output = ByteBuffer()
        var allowed = 0
        for index in 0..<Self.devices + iterations {
            if !keepsRows { now.monotonic += 600 * 1_000_000_000 }
            let query = queries[index % Self.devices].withUnsafeBytes { AuthQuery.decode($0) }
            guard let query else { continue }
            authenticator.receive(query, request: .init(link: 1, handle: UInt64(index)), now: now)
            while !authenticator.actions.isEmpty {
                let actions = authenticator.actions
                authenticator.actions = []
                for action in actions {
                    switch action {
                    case .lookUp(let token, _, _):
                        let reply = RedisReply.array([.bulk(Array("pw".utf8))])
                        authenticator.lookupAnswered(token: token, [reply], now: now)
                    case .answer(let request, let verdict):
                        if verdict.outcome == .allow { allowed += 1 }
                        verdict.encode(into: &output, request: request.handle)
                    case .readCache, .check, .write, .announce, .reportAccess:
                        break
                    }
                }
            }
            output.clear()
        }
        precondition(allowed == Self.devices + iterations, "somebody was not let in")
    }
}
