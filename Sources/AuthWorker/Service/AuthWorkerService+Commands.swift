import Common

/// What the tool asks of an auth worker.
extension AuthWorkerService {
    private static var resultsMax: Int { 20 }

    package func perform(_ command: ControlCommand) -> ControlReply? {
        for source in self.redisSources { source.mendPages() }
        let words = command.words
        switch (words.first, words.count) {
        case ("auth", 2) where words[1] == "confirm-mass-revoke": return self.confirmMassRevoke()
        case ("why", 2): return ControlReply(isDone: true, text: self.why(words[1]).text)
        case ("cache", 2) where words[1] == "show": return ControlReply(isDone: true, text: self.cacheSummary().text)
        case ("cache", 3) where words[1] == "show":
            return ControlReply(isDone: true, text: self.showCached(words[2]).text)
        case ("cache", 3) where words[1] == "drop": return self.drop(words[2])
        case ("cache", 2) where words[1] == "drop-all": return self.dropAll()
        default: return nil
        }
    }

    private func confirmMassRevoke() -> ControlReply {
        // Each of them, not only the first that has something to confirm.
        let confirmed = self.redisSources.filter { $0.confirmMassRevoke() }
        guard !confirmed.isEmpty else {
            if self.redisSources.contains(where: { $0.dataCheck.hasJustEnded(now: self.loop.now) }) {
                return ControlReply(
                    isDone: true,
                    text: "confirmed by another auth worker already, or the rows are back"
                )
            }
            return ControlReply(isDone: true, text: "nothing to confirm: Redis' answers decide")
        }
        return ControlReply(isDone: true, text: "devices without a row are denied from now on")
    }

    // MARK: Why

    private func why(_ text: String) -> Report {
        let search = DeviceSearch(text)
        var found: [Report.Block] = []
        for record in self.decisions.newestFirst where found.count < Self.resultsMax {
            guard let query = record.query, let decision = record.decision else { continue }
            let isFound = search.finds(
                identity: query.identity,
                clientIdentifier: query.clientIdentifier,
                userName: query.userName,
                address: query.peerAddress
            )
            if isFound { found.append(self.describe(record, query, decision)) }
        }
        return Report(found)
    }

    private func describe(
        _ record: DecisionRecord,
        _ query: AuthQuery,
        _ decision: DecisionRecord.Decision
    ) -> Report.Block {
        var block: Report.Block = []
        block.add("time", StandardErrorLogHandler.timestamp(nanoseconds: record.wallNanoseconds))
        block.add("process", self.context.name)
        block.add("what", query.revalidatedTag == nil ? "may it connect?" : "may it stay?")
        block.add("device", bytes: query.identity?.commonName)
        block.add("client_id", bytes: query.clientIdentifier)
        block.add("user_name", bytes: query.userName)
        block.add("address", bytes: query.peerAddress)
        block.add("listener", bytes: query.listenerName)
        if let source = record.source { block.add("source", bytes: Array(self.sourceName(source).utf8)) }
        block.add("verdict", "\(decision.outcome)")
        if decision.reason != .none { block.add("reason", "\(decision.reason)") }
        block.add("detail", bytes: decision.detail)
        if decision.source != .none { block.add("decided_by", "\(decision.source)") }
        block.add("took_us", record.tookNanoseconds / 1000)
        if decision.outcome == .allow {
            block.add(
                "rules",
                decision.isSuperuser ? "superuser: everything" : "\(decision.rules), then \(decision.noMatch)"
            )
        }
        if let source = record.source { self.explain(source, query, decision.reason, into: &block) }
        for (index, answer) in record.answers.enumerated() {
            for line in self.describe(answer, query) { block.add("asked.\(index + 1).\(line.name)", line.value) }
        }
        return block
    }

    private func sourceName(_ source: Int) -> String { self.context.configuration.authentication.sources[source].name }

    /// What one of several sources said, and what it knows at the moment.
    private func describe(_ answer: SourceAnswer, _ query: AuthQuery) -> Report.Block {
        var block: Report.Block = []
        block.add("source", self.sourceName(answer.source))
        block.add("verdict", "\(answer.verdict.outcome)")
        if answer.verdict.reason != .none { block.add("reason", "\(answer.verdict.reason)") }
        block.add("detail", bytes: answer.verdict.detail)
        self.explain(answer.source, query, answer.verdict.reason, into: &block)
        return block
    }

    /// What the source would ask, and what it knows of the client at the moment.
    private func explain(
        _ source: Int,
        _ query: AuthQuery,
        _ reason: AuthVerdict.Reason,
        into block: inout Report.Block
    ) {
        switch self.sources[source] {
        case .redis(let source): source.explain(query, isUnknown: reason == .noSuchDevice, into: &block)
        case .embedded(let source): source.explain(query, into: &block)
        case .certificate, .none: break
        }
    }

    // MARK: Cache

    private func cacheSummary() -> Report {
        Report(
            self.redisSources.map { source in
                var block: Report.Block = []
                block.add("process", self.context.name)
                if !source.configuration.name.isEmpty { block.add("source", source.configuration.name) }
                block.add("rows_in_memory", source.authenticator.rowsInMemory)
                block.add("absent_keys_in_memory", source.authenticator.absentKeysInMemory)
                guard let cache = source.cache else {
                    block.add("file", "none")
                    return block
                }
                return block + cache.summary
            }
        )
    }

    private func showCached(_ text: String) -> Report {
        var blocks: [Report.Block] = []
        for source in self.redisSources {
            for key in source.keys(of: text).keys {
                var block: Report.Block = []
                block.add("process", self.context.name)
                if !source.configuration.name.isEmpty { block.add("source", source.configuration.name) }
                source.explain(key, into: &block)
                blocks.append(block)
            }
        }
        return Report(blocks)
    }

    private func drop(_ text: String) -> ControlReply {
        var block: Report.Block = []
        for source in self.redisSources {
            let (keys, areCached) = source.keys(of: text)
            for key in keys {
                // Also where nothing is cached: a look-up may be under way.
                source.drop(key)
                if areCached { block.add("dropped", bytes: key.redisKey) }
            }
        }
        return block.isEmpty ? .notCached : ControlReply(isDone: true, text: Report([block]).text)
    }

    private func dropAll() -> ControlReply {
        for source in self.redisSources { source.dropAll() }
        return ControlReply(isDone: true, text: "no row is used before it was fetched from Redis again")
    }
}
