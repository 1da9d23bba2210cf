import Common
import Logging

// What clients were not allowed, in the log and for `martlet why`.
extension RouterService {
    package func perform(_ command: ControlCommand) -> ControlReply? {
        guard command.words.first == "why", command.words.count > 1 else { return nil }
        let names = command.words.dropFirst().map { Array($0.utf8) }
        let found = self.core.denials.clients(named: names)
            .flatMap { client in client.denials.map { (client, $0) } }
            .sorted { $0.1.lastAt > $1.1.lastAt }
            .prefix(Self.denialsShownMax)
        let blocks = found.map { client, denial in self.describe(denial, of: client) }
        return ControlReply(isDone: true, text: Report(blocks).text)
    }

    private static var denialsShownMax: Int { 20 }

    private func describe(_ denial: DenialLog.Denial, of client: DenialLog.Client) -> Report.Block {
        var block: Report.Block = []
        block.add("time", self.timestamp(denial.lastAt))
        block.add("process", self.context.name)
        block.add("what", denial.question)
        block.add("client_id", bytes: client.identifier)
        if !client.name.isEmpty { block.add("name", bytes: client.name) }
        block.add(denial.action == .subscribe ? "filter" : "topic", denial.shownTopic)
        block.add("qos", Int(denial.qos.rawValue))
        if denial.action != .subscribe { block.add("retain", denial.retain ? "yes" : "no") }
        block.add("verdict", "not allowed by the client's rules; martlet auth test shows them")
        if denial.count > 1 {
            block.add("times", denial.count)
            block.add("since", self.timestamp(denial.firstAt))
        }
        return block
    }

    private func timestamp(_ moment: Instant) -> String {
        StandardErrorLogHandler.timestamp(nanoseconds: Clock.wall() &- (self.loop.now &- moment))
    }

    /// The first of a client in a minute, and not many of all.
    func logDenials() {
        for line in self.core.takeDenialLines() {
            guard let othersLeftOut = self.denialLog.admit(now: self.loop.now) else { continue }
            var metadata: Logger.Metadata = [
                "client": "\(String(decoding: line.client, as: UTF8.self))",
                "qos": "\(line.denial.qos.rawValue)",
            ]
            metadata[line.denial.action == .subscribe ? "filter" : "topic"] = "\(line.denial.shownTopic)"
            if !line.name.isEmpty { metadata["name"] = "\(String(decoding: line.name, as: UTF8.self))" }
            if line.denial.retain { metadata["retain"] = "true" }
            if line.notLoggedBefore > 0 { metadata["not_logged_before"] = "\(line.notLoggedBefore)" }
            if othersLeftOut > 0 { metadata["other_clients_not_logged"] = "\(othersLeftOut)" }
            self.logger.notice("\(line.denial.name) not allowed by the client's rules", metadata: metadata)
        }
    }
}

extension DenialLog.Denial {
    fileprivate var name: String {
        switch self.action {
        case .publish: "PUBLISH"
        case .subscribe: "SUBSCRIBE"
        case .will: "will"
        }
    }

    fileprivate var question: String {
        switch self.action {
        case .publish: "may it publish?"
        case .subscribe: "may it subscribe?"
        case .will: "may its will be published?"
        }
    }

    fileprivate var shownTopic: String { String(decoding: self.topic, as: UTF8.self) + (self.isCut ? "…" : "") }
}
