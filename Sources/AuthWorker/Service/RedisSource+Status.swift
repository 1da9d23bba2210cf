import AuthCache
import Common

extension RedisSource {
    func addStatus(to report: inout StatusReport) {
        let counters = self.authenticator.statistics
        report.add("redis", self.redisDescription)
        report.add("changes_learned_by", self.feedDescription)
        if let alarm = self.dataCheckAlarm { report.add("alarm", alarm) }
        if let alarm = self.lookupAlarm { report.add("alarm", alarm) }
        if self.feedLoss?.isTold == true, self.redis.isAnyReady {
            report.add(
                "alarm",
                "Redis answers, but tells no changes: removed devices are noticed by asking about all in turn"
            )
        }
        if let alarm = self.pollingAlarm { report.add("alarm", alarm) }
        if let alarm = self.clockAlarm { report.add("alarm", alarm) }
        if let alarm = self.evictionAlarm { report.add("alarm", alarm) }
        report.add("wall_clock_ahead_seconds", self.clock.wallAheadMilliseconds / 1000)
        report.add("rows_held", self.authenticator.denialGuard.held)
        report.add("queries", counters.queries)
        report.add("allowed_by_redis", counters.allowedByRedis)
        report.add("allowed_by_certificate", counters.allowedByCertificate)
        report.add("allowed_by_memory", counters.allowedByMemory)
        report.add("allowed_by_disk", counters.allowedByDisk)
        report.add("allowed_stale", counters.allowedStale)
        report.add("allowed_before_late_answer", counters.allowedEarly)
        counters.reportRefusals(into: &report)
        report.add("queries_waiting", self.queriesWaiting)
        report.add("lookups", counters.lookups)
        report.add("lookups_shared", counters.joined)
        report.add("slow_password_checks", counters.slowChecks)
        report.add("slow_password_checks_dropped", counters.slowChecksDropped)
        report.add("slow_password_checks_waiting", self.authenticator.checksPending)
        report.add("revalidations", counters.revalidations)
        report.add("refetches", counters.refetches)
        report.add("rules_dropped", counters.rulesDropped)
        report.add("rows_in_memory", self.authenticator.rowsInMemory)
        report.add("absent_keys_in_memory", self.authenticator.absentKeysInMemory)
        report.add("absent_keys_pushed_out", self.authenticator.absentKeysPushedOut)
        self.addRedisCounters(to: &report)
        self.addCacheStatus(to: &report)
    }

    /// The configuration wants changes told, and a server has never told any. Whoever knows and accepts that says so.
    private var pollingAlarm: String? {
        let wanted = self.configuration.redis.invalidation
        guard wanted != .poll, wanted != .off, !self.hasBeenTold, self.redis.isAnyReady,
            self.feeds.values.contains(where: { $0.method == .poll })
        else { return nil }
        let seconds = self.configuration.redis.pollIntervalNanoseconds / Nanoseconds.perSecond
        return
            "Redis does not let this user learn of changes: removed devices are noticed within \(max(1, seconds)) s, by asking "
            + "about all in turn (redis.invalidation: poll accepts that)"
    }

    private func addRedisCounters(to report: inout StatusReport) {
        let counters = self.redis.counters
        report.add("redis_commands", counters.commands)
        report.add("redis_pipelines", counters.pipelines)
        report.add("redis_answers", counters.answers)
        report.add("redis_errors", counters.errors)
        report.add("redis_replies_too_long", counters.tooLong)
        report.add("redis_timeouts", counters.timeouts)
        report.add("redis_asked_again", counters.repeated)
        report.add("redis_connections", counters.connections)
        report.add("redis_failures", counters.failures)
        report.add("redis_pipeline_largest", counters.pipelineLargest)
        if counters.pipelines > 0 { report.add("redis_pipeline_average", counters.commands / counters.pipelines) }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            report.add("redis_latency_\(name)_us", counters.latency.microseconds(quantile))
        }
        report.add("redis_latency_max_us", counters.latency.maximumNanoseconds / 1000)
        if let redirections = self.redis.redirections { report.add("redis_redirections", redirections) }
        report.add("redis_in_flight", self.redis.commandsInFlight)
        report.add("redis_queued", self.redis.commandsQueued)
    }

    private var redisDescription: String {
        self.redis.description
    }
}
