import Common
import Glibc
import TLS

/// What would become of a client that connected now, as far as it can be found out without a connection.
struct AuthTest {
    enum Outcome: Int32 {
        case allowed = 0
        case denied = 1
        case unknown = 2
    }

    var certificateFile: String?
    var userName: String?
    /// Nil: one that a client with this certificate may have on the listener.
    var clientIdentifier: String?
    var password: [UInt8]?
    var address: ListenAddress?
    /// Redis is asked, whatever is cached.
    var fetchesFirst = false
    let configuration: Configuration
    let listener: Configuration.Listener

    /// - Returns: the outcome, and lines for people and programs.
    func run() throws -> (outcome: Outcome, block: Report.Block) {
        var block: Report.Block = []
        block.add("listener", self.listener.name)
        let (identity, isRefused) = try self.judgeCertificate(&block)
        guard !isRefused else { return (.denied, block) }
        let clientIdentifier: [UInt8]
        switch self.admission(identity) {
        case .success(let identifier): clientIdentifier = identifier
        case .failure(let refusal):
            block.add("verdict", "refused: \(refusal.detail)")
            block.add("reason", refusal.reason)
            return (.denied, block)
        }
        if let ban = try self.ban(identity, clientIdentifier) {
            block.add("verdict", "refused: \(ban.title) is banned")
            block.add("reason", "banned")
            if !ban.reason.isEmpty { block.add("ban_reason", ban.reason) }
            if let until = ban.until { block.add("until", Ban.timestamp(until)) }
            return (.denied, block)
        }
        if self.listener.anonymous {
            block.add("verdict", "allow: the listener is anonymous")
            return (.allowed, block)
        }
        let query = AuthQuery(
            listenerName: Array(self.listener.name.utf8),
            rulesName: Array(self.listener.rules.utf8),
            peerAddress: Array("martlet auth test".utf8),
            version: .v5_0,
            identity: identity,
            clientIdentifier: clientIdentifier,
            userName: self.effectiveUserName(identity),
            password: self.password
        )
        guard self.configuration.authentication.usesWorkers else {
            block.add("verdict", "refused: authentication.source is none, and the listener is not anonymous")
            return (.denied, block)
        }
        let answer = try self.ask(query)
        let verdict = answer.verdict
        for line in answer.silent { block.add("auth_worker", line) }
        block.add("verdict", "\(verdict.outcome)")
        if verdict.reason != .none { block.add("reason", "\(verdict.reason)") }
        if verdict.source != .none { block.add("decided_by", "\(verdict.source)") }
        for rule in verdict.access.rules { block.add("rule", Self.describe(rule)) }
        if verdict.outcome == .allow {
            block.add(
                "rule",
                verdict.access.isSuperuser ? "superuser: everything" : "otherwise \(verdict.access.noMatch)"
            )
        }
        self.addExplanation(query, answer.instance, to: &block)
        let outcome: Outcome =
            switch verdict.outcome {
            case .allow: .allowed
            case .deny: .denied
            case .unknown: .unknown
            }
        return (outcome, block)
    }

    private func ask(_ query: AuthQuery) throws -> AuthTestClient.Answer {
        if self.fetchesFirst {
            // As about a live session: Redis' row as it is now becomes the cached one, and nothing cached is lost if Redis is away.
            var fetching = query
            fetching.password = nil
            fetching.revalidatedTag = []
            let answer = try AuthTestClient.ask(fetching, self.configuration)
            guard answer.verdict.outcome == .allow else { return answer }
        }
        return try AuthTestClient.ask(query, self.configuration)
    }

    private func ban(_ identity: CertificateIdentity?, _ clientIdentifier: [UInt8]) throws -> Ban? {
        let bans = try self.configuration.loadBans()
        let now = Int64(Clock.wall() / Nanoseconds.perSecond)
        return bans.ban(ofAddress: self.address, identity: identity, clientIdentifier: clientIdentifier, now: now)
    }

    /// What a listener, or the router, has against a client before anybody is asked.
    private struct Refusal: Error {
        /// As the listener's log names it.
        var reason: String
        var detail: String
    }

    /// The client id in force.
    private func admission(_ identity: CertificateIdentity?) -> Result<[UInt8], Refusal> {
        let policy = self.listener.clientID
        let given = self.clientIdentifier.map { Array($0.utf8) }
        let usual = policy == .mustEqualCommonName ? identity?.commonName : nil
        // As in the packet, before anybody looks at what it means.
        for (name, text) in [("client id", self.clientIdentifier), ("user name", self.userName)] {
            guard let text, !Array(text.utf8).withUnsafeBytes({ MQTTText.isValid($0) }) else { continue }
            let detail = "the \(name) has characters that a CONNECT may not have: \(ReadableText.escaped(text))"
            return .failure(Refusal(reason: "malformed-connect", detail: detail))
        }
        let wanted = given ?? usual ?? Array("martlet-auth-test".utf8)
        guard let identifier = policy.clientIdentifier(wanted, commonName: identity?.commonName) else {
            let detail = policy.refusal(hasCertificate: identity != nil)
            return .failure(Refusal(reason: "client-id-not-common-name", detail: detail))
        }
        let maxLengthBytes = self.configuration.mqtt.maxClientIDLengthBytes
        if let detail = self.listener.offer.refusal(ofClientIdentifier: identifier, maxLengthBytes: maxLengthBytes) {
            return .failure(Refusal(reason: "router-0x85", detail: detail))
        }
        let userName = self.effectiveUserName(identity)
        if let detail = self.listener.userNameFrom.refusal(of: userName, hasCertificate: identity != nil) {
            return .failure(Refusal(reason: "\(AuthVerdict.Reason.fieldMissing)", detail: detail))
        }
        return .success(identifier)
    }

    private func effectiveUserName(_ identity: CertificateIdentity?) -> [UInt8]? {
        self.listener.userNameFrom.userName(self.userName.map { Array($0.utf8) }, identity: identity)
    }

    /// The worker's own account of the decision.
    private func addExplanation(_ query: AuthQuery, _ worker: Int, to block: inout Report.Block) {
        let name = query.identity?.commonName ?? query.userName ?? query.clientIdentifier
        let command = ControlCommand(["why", String(decoding: name, as: UTF8.self)])
        guard let reply = try? ControlClient.send(command, to: .authWorker, instance: worker, self.configuration),
            let latest = Report(text: reply.text).blocks.first
        else { return }
        let shown = ["source", "detail", "took_us", "command", "file", "key", "in_memory", "on_disk", "redis"]
        for line in latest
        where shown.contains(line.name) || line.name.hasPrefix("row_") || AskedSources.isPart(line) {
            block.append(line)
        }
        block += Advice.lines(for: latest)
    }

    private static func describe(_ rule: AccessRule) -> String {
        let filter = String(decoding: rule.filter, as: UTF8.self)
        var text = "\(rule.permission) \(Self.name(rule.actions)) \(rule.isLiteral ? "eq " : "")\(filter)"
        if rule.qosMask != 0b111 {
            text +=
                ", QoS " + (0...2).filter { rule.qosMask >> UInt8($0) & 1 == 1 }.map { "\($0)" }.joined(separator: " ")
        }
        switch rule.retain {
        case .any: break
        case .onlyRetained: text += ", retained"
        case .onlyNotRetained: text += ", not retained"
        }
        return text
    }

    private static func name(_ actions: AccessRule.Actions) -> String {
        if actions == .all { return "all" }
        return actions == .publish ? "publish" : "subscribe"
    }
}
