extension Configuration.Authentication {
    private static let millisecond = Configuration.nanosecondsPerMillisecond
    private static let second = Configuration.nanosecondsPerSecond

    mutating func read(_ section: inout ConfigurationSection, stateDirectory: String) {
        if section.contains("sources") {
            self.readSources(&section, stateDirectory: stateDirectory)
        } else {
            _ = section.value("sources")
            self.sources[0].read(&section, stateDirectory: stateDirectory)
        }
        section.choice("password_changed", into: &self.passwordChanged)
        section.choice("revoked_will", into: &self.revokedWill)
        let timeouts = Self.millisecond...60 * Self.second
        section.duration("worker_timeout", timeouts, into: &self.workerTimeoutNanoseconds)
    }

    /// What the short form has beside `sources`; with `sources` it belongs to their elements.
    private static let shortFormKeys = [
        "source", "command", "password_hash", "super_command", "acl_command", "file", "key", "redis", "cache",
    ]
    private static let sourcesMax = 16

    private mutating func readSources(_ section: inout ConfigurationSection, stateDirectory: String) {
        for key in Self.shortFormKeys where section.contains(key) {
            _ = section.value(key)
            section.report(key, "belongs into an element of sources, where there are sources")
        }
        var sources: [Source] = []
        for (node, path) in section.list("sources") ?? [] {
            var part = ConfigurationSection(node, path: path, parentOrigin: node.origin, reading: section.reading)
            var source = Source()
            part.text("name", into: &source.name)
            if source.name.isEmpty {
                part.report("name", "is missing; logs, the status and the cache tell sources apart by it")
            } else if sources.contains(where: { $0.name.hasSameBytes(as: source.name) }) {
                part.report("name", "another source is named \"\(source.name)\" already; names must differ")
            }
            source.read(&part, stateDirectory: stateDirectory)
            part.choice("on_failure", into: &source.onFailure)
            let listeners = part.list("listeners")
            if listeners?.isEmpty == true {
                part.report("listeners", "is empty; name listeners, or remove the key for all of them")
            }
            for (node, path) in listeners ?? [] {
                if let (text, _) = part.reading.text(of: node, path: path) { source.listeners.append(text) }
            }
            if source.kind == .none {
                part.report("source", "is none, which has no place among sources")
                source.kind = .redis
            }
            part.finish()
            sources.append(source)
        }
        if sources.isEmpty || sources.count > Self.sourcesMax {
            section.report("sources", "has \(sources.count) elements; there must be 1 to \(Self.sourcesMax)")
        }
        if !sources.isEmpty { self.sources = sources }
    }
}

extension Configuration.Authentication.Source {
    private static let year = 365 * 86_400 * Configuration.nanosecondsPerSecond

    mutating func read(_ section: inout ConfigurationSection, stateDirectory: String) {
        section.choice("source", into: &self.kind)
        self.refuseWithoutEffect(section)
        let isHashUnderstood = self.readPasswordHash(&section)
        self.readCommands(&section, isHashUnderstood: isHashUnderstood)
        self.file = Configuration.join(stateDirectory, "devices.db")
        section.path("file", into: &self.file)
        section.text("key", into: &self.key)
        if self.kind == .embedded {
            do throws(TemplateError) {
                let isFixed = try TemplateText(self.key).placeholders.isEmpty
                if isFixed { section.report("key", "has no placeholder, so all devices would be one; such as \"%C\"") }
            } catch {
                section.report("key", error.description)
            }
        }
        section.section("redis") { self.redis.read(&$0) }
        self.cache.directory = Configuration.join(stateDirectory, "auth-cache")
        section.section("cache") { self.cache.read(&$0, stateDirectory: stateDirectory, longest: Self.year) }
    }

    private static let redisKeys = ["command", "password_hash", "super_command", "acl_command", "redis"]

    /// Whoever writes it believes that rows of Redis decide. An override of `source` is a trial, and `none` switches all of it off.
    private func refuseWithoutEffect(_ section: ConfigurationSection) {
        guard [.embedded, .certificate].contains(self.kind), !section.isOverridden("source") else { return }
        for key in Self.redisKeys where section.contains(key) {
            section.report(
                key,
                "is of source: redis, and means nothing to source: \(self.kind.rawValue); remove one of them"
            )
        }
    }

    /// - Parameter isHashUnderstood: otherwise what depends on it says nothing, for nobody wrote the default that stands in for it.
    private mutating func readCommands(_ section: inout ConfigurationSection, isHashUnderstood: Bool) {
        let needsPassword = isHashUnderstood && self.passwordHash.needsPassword
        let purpose: CommandTemplate.Purpose = needsPassword ? .credentials : .existence
        var command: String?
        Self.readCommand(&section, "command", purpose, into: &command)
        if let command { self.command = command }
        Self.readCommand(&section, "super_command", .superuser, into: &self.superCommand)
        Self.readCommand(&section, "acl_command", .access, into: &self.accessCommand)
        guard self.kind == .redis, let row = try? CommandTemplate(self.command, purpose: purpose) else { return }
        guard !row.isPositional, needsPassword else { return }
        self.allowAbsentSalt(row, &section)
        do throws(ConfigurationMistake) {
            try self.passwordHash.check(asksForSalt: row.asksForSalt)
        } catch {
            section.report("password_hash", error.reason)
        }
    }

    /// In EMQX 5's form a salt stands in front where nothing else is said, and is empty where none is asked for.
    private mutating func allowAbsentSalt(_ row: CommandTemplate, _ section: inout ConfigurationSection) {
        guard !row.asksForSalt, let node = section.value("password_hash"),
            case .mapping = section.reading.expanded(node).value
        else { return }
        switch self.passwordHash.algorithm {
        case .plain, .digest: self.passwordHash.salt = .ignored
        case .none, .bcrypt, .pbkdf2: break
        }
    }

    private static func readCommand(
        _ section: inout ConfigurationSection,
        _ key: String,
        _ purpose: CommandTemplate.Purpose,
        into value: inout String?
    ) {
        guard let (command, _, _) = section.text(key) else { return }
        // Also one with a mistake: what else is said of it would be of the default.
        value = command
        do throws(ConfigurationMistake) {
            _ = try CommandTemplate(command, purpose: purpose)
        } catch {
            section.report(key, error.reason)
        }
    }

    /// EMQX 4's text, or EMQX 5's mapping.
    ///
    /// - Returns: false if what is there is none.
    private mutating func readPasswordHash(_ section: inout ConfigurationSection) -> Bool {
        guard let node = section.value("password_hash") else { return true }
        do throws(ConfigurationMistake) {
            if case .mapping = section.reading.expanded(node).value {
                var mapping = ConfigurationSection(
                    node,
                    path: section.keyPath("password_hash"),
                    parentOrigin: node.origin,
                    reading: section.reading
                )
                let hash = try Self.readMapping(&mapping)
                mapping.finish()
                if let hash { self.passwordHash = hash }
                return hash != nil
            }
            guard let (text, _) = section.reading.text(of: node, path: section.keyPath("password_hash")) else {
                return false
            }
            self.passwordHash = try PasswordHash(text: text)
            return true
        } catch {
            section.report("password_hash", error.reason)
            return false
        }
    }

    private enum SaltPosition: String, CaseIterable {
        case prefix
        case suffix
        case disable
    }

    private enum Algorithm: String, CaseIterable {
        case plain
        case md5
        case sha
        case sha256
        case sha512
        case bcrypt
        case pbkdf2
        case none
    }

    private static func readMapping(
        _ section: inout ConfigurationSection
    ) throws(ConfigurationMistake) -> PasswordHash? {
        guard section.contains("name") else {
            section.report(
                "name",
                "is missing; write one of \(Algorithm.allCases.map(\.rawValue).joined(separator: ", "))"
            )
            return nil
        }
        var name = Algorithm.plain
        section.choice("name", into: &name)
        switch name {
        case .none:
            return PasswordHash.none
        case .bcrypt:
            // Only what makes new hashes needs the rounds.
            var rounds = 10
            section.integer("salt_rounds", 4...31, into: &rounds)
            return PasswordHash(.bcrypt(usesSaltField: false), salt: .ignored)
        case .pbkdf2:
            var mac = PasswordHash.MAC.sha256
            section.choice("mac_fun", into: &mac)
            var iterations = 0
            section.integer("iterations", 1...PasswordHash.iterationsMax, into: &iterations)
            if !section.contains("iterations") {
                section.report(
                    "iterations",
                    "is missing; write the number that the hashes were made with, there is no default"
                )
            }
            var keyBytes = mac.byteCount
            section.integer("dk_length", 1...PasswordHash.keyBytesMax, into: &keyBytes)
            return PasswordHash(.pbkdf2(mac, iterations: max(1, iterations), keyBytes: keyBytes), salt: .prefix)
        case .plain, .md5, .sha, .sha256, .sha512:
            var position = SaltPosition.prefix
            section.choice("salt_position", into: &position)
            let salt: PasswordHash.Salt =
                switch position {
                case .prefix: .prefix
                case .suffix: .suffix
                case .disable: .ignored
                }
            return PasswordHash.algorithm(name.rawValue).map { PasswordHash($0, salt: salt) }
        }
    }
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
        section.duration("stale_after", 0...longest, into: &self.staleAfterNanoseconds)
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
