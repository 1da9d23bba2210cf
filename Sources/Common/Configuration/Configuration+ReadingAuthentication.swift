extension Configuration.Authentication {
    private static let millisecond = Configuration.nanosecondsPerMillisecond
    private static let second = Configuration.nanosecondsPerSecond
    private static let year = 365 * 86_400 * Configuration.nanosecondsPerSecond

    mutating func read(_ section: inout ConfigurationSection, stateDirectory: String) {
        section.choice("source", into: &self.source)
        self.readCommand(&section)
        section.choice("password_hash", into: &self.passwordHash)
        section.choice("password_changed", into: &self.passwordChanged)
        section.choice("revoked_will", into: &self.revokedWill)
        self.checkPasswordHash(section)
        section.section("redis") { self.redis.read(&$0) }
        let timeouts = Self.millisecond...60 * Self.second
        section.duration("worker_timeout", timeouts, into: &self.workerTimeoutNanoseconds)
        self.cache.directory = Configuration.join(stateDirectory, "auth-cache")
        section.section("cache") { self.cache.read(&$0, stateDirectory: stateDirectory, longest: Self.year) }
    }

    private mutating func readCommand(_ section: inout ConfigurationSection) {
        guard let (command, _, _) = section.text("command") else { return }
        do throws(ConfigurationMistake) {
            _ = try CommandTemplate(command)
            self.command = command
        } catch {
            section.report("command", error.reason)
        }
    }

    private func checkPasswordHash(_ section: ConfigurationSection) {
        guard self.source == .redis else { return }
        do throws(ConfigurationMistake) {
            guard let command = try? CommandTemplate(self.command) else { return }
            try self.passwordHash.check(asksForSalt: command.asksForSalt)
        } catch {
            section.report("password_hash", error.reason)
        }
    }
}

extension Configuration.Authentication.Redis {
    mutating func read(_ section: inout ConfigurationSection) {
        let timeouts = Configuration.nanosecondsPerMillisecond...60 * Configuration.nanosecondsPerSecond
        if let (text, _, _) = section.text("url") {
            do { self.url = try RedisURL.parse(text) } catch { section.report("url", error.message) }
        }
        section.path("password_file", into: &self.passwordFile)
        section.duration("connect_timeout", timeouts, into: &self.connectTimeoutNanoseconds)
        section.duration("query_timeout", timeouts, into: &self.queryTimeoutNanoseconds)
        section.integer("pipeline_max", 1...1_000_000, into: &self.pipelineMax)
        section.integer("queue_max", 1...10_000_000, into: &self.queueMax)
        section.choice("invalidation", into: &self.invalidation)
        let intervals = Configuration.nanosecondsPerSecond...86_400 * Configuration.nanosecondsPerSecond
        section.duration("poll_interval", intervals, into: &self.pollIntervalNanoseconds)
        if self.user != nil, self.passwordFile == nil {
            section.report(
                "url",
                "names a user, whose password is needed: put it into a file and name it in password_file"
            )
        }
    }

    private var user: String? { self.url.user }
}

extension Configuration.Authentication.Cache {
    mutating func read(_ section: inout ConfigurationSection, stateDirectory: String, longest: UInt64) {
        section.flag("enabled", into: &self.enabled)
        if let (directory, _, _) = section.text("directory") {
            let isAbsolute = directory.hasPrefix("/")
            self.directory = isAbsolute ? directory : Configuration.join(stateDirectory, directory)
        }
        section.duration("positive_ttl", 0...longest, into: &self.positiveTTLNanoseconds)
        section.duration("stale_max", 0...longest, into: &self.staleMaxNanoseconds)
        section.duration("negative_ttl", 0...longest, into: &self.negativeTTLNanoseconds)
        if self.staleMaxNanoseconds < self.positiveTTLNanoseconds {
            let least = DurationText.describe(nanoseconds: self.positiveTTLNanoseconds)
            section.report("stale_max", "is shorter than positive_ttl; at least \(least) is needed")
        }
        section.integer("memory_entries", 1...100_000_000, into: &self.memoryEntries)
        section.integer("disk_entries", 1...1_000_000_000, into: &self.diskEntries)
        section.integer("negative_entries", 1...100_000_000, into: &self.negativeEntries)
    }
}
