import Logging

// From nodes to values, with the checks that need nothing but the file. One function per section.
extension Configuration {
    /// Reads all of it; what is wrong is in `reading`.
    init(reading root: YAMLNode?, into reading: ConfigurationReading) {
        self.init()
        let start = ConfigurationOrigin.file(line: 1, column: 1)
        var top = ConfigurationSection(root, path: "", parentOrigin: start, reading: reading)
        top.path("runtime_directory", into: &self.runtimeDirectory)
        top.path("state_directory", into: &self.stateDirectory)
        self.checkRuntimeDirectory(top)
        self.bansFile = Self.join(reading.baseDirectory, "bans")
        top.path("bans_file", into: &self.bansFile)
        top.choice("durability", into: &self.durability)
        top.section("processes") { section in
            section.integer("listeners", 1...Self.processesMax, into: &self.processes.listeners)
            section.integer("auth_workers", 1...Self.processesMax, into: &self.processes.authWorkers)
            section.integer("max_connection_rate", 0...1_000_000, into: &self.processes.maxConnectionRate)
            section.integer("drain_rate", 0...1_000_000, into: &self.processes.drainRate)
            section.integer("max_handshakes", 0...1_000_000, into: &self.processes.maxHandshakes)
            section.duration(
                "router_absence_max",
                0...3600 * Configuration.nanosecondsPerSecond,
                into: &self.processes.routerAbsenceMaxNanoseconds
            )
        }
        self.readLinkUsers(&top)
        top.section("log") { section in
            section.choice("level", into: &self.log.level)
            section.integer("refused_per_second", 0...1_000_000, into: &self.log.refusedPerSecond)
        }
        // Before the listeners, whose defaults are in here.
        top.section("mqtt") { section in self.mqtt.read(&section) }
        let listenerNodes = top.list("listeners")
        if listenerNodes?.isEmpty ?? !top.contains("listeners") {
            top.report("listeners", "there is none; name at least one, with addresses and a tls section")
        }
        var listenerSections: [ConfigurationSection] = []
        for (node, path) in listenerNodes ?? [] {
            var section = ConfigurationSection(node, path: path, parentOrigin: node.origin, reading: reading)
            self.listeners.append(Listener(reading: &section, offer: self.mqtt.offer))
            section.finish()
            listenerSections.append(section)
        }
        top.section("authentication") { section in
            self.authentication.read(&section, stateDirectory: self.stateDirectory)
        }
        top.section("authorization") { section in self.authorization.read(&section) }
        top.section("flow_control") { section in
            section.size("session_credit", 1024...Self.bytesMax, into: &self.flowControl.sessionCreditBytes)
            section.size("link_credit", 1024...Self.bytesMax, into: &self.flowControl.linkCreditBytes)
            section.size("partial_packets", 1024...Self.bytesMax, into: &self.flowControl.partialPacketBytesMax)
            if !section.contains("partial_packets") {
                let least = self.mqtt.maxPacketSizeBytes
                self.flowControl.partialPacketBytesMax = max(self.flowControl.partialPacketBytesMax, least)
            }
            if self.flowControl.partialPacketBytesMax < self.mqtt.maxPacketSizeBytes {
                let least = SizeText.describe(bytes: self.mqtt.maxPacketSizeBytes)
                section.report("partial_packets", "is less than mqtt.max_packet_size; at least \(least) is needed")
            }
            if self.flowControl.linkCreditBytes < self.flowControl.sessionCreditBytes {
                let least = SizeText.describe(bytes: self.flowControl.sessionCreditBytes)
                section.report("link_credit", "is less than session_credit; at least \(least) is needed")
            }
        }
        top.finish()
        self.checkTogether(listenerSections, top)
    }

    /// Of each role; instance numbers have three digits in socket paths.
    public static let processesMax = 256
    /// 1 TiB: more than a host has, far from overflow.
    public static let bytesMax = 1 << 40

    private func checkRuntimeDirectory(_ top: ConfigurationSection) {
        let bytes = self.runtimeDirectory.utf8.count
        if bytes > Self.runtimeDirectoryBytesMax {
            top.report(
                "runtime_directory",
                "has \(bytes) bytes; for the paths of Unix sockets below it, "
                    + "at most \(Self.runtimeDirectoryBytesMax) are possible"
            )
        }
    }

    private mutating func readLinkUsers(_ top: inout ConfigurationSection) {
        for (node, path) in top.list("link_users") ?? [] {
            guard let (text, _) = top.reading.text(of: node, path: path) else { continue }
            let isName = text.utf8.allSatisfy { byte in
                byte > 0x20 && byte != UInt8(ascii: ":") && byte != UInt8(ascii: "/") && byte < 0x7F
            }
            guard isName, text.utf8.count <= 256 else {
                top.reading.report(node.origin, path, "\"\(ConfigurationText.shown(text))\" is not a user name")
                continue
            }
            self.linkUsers.append(text)
        }
    }

    /// What concerns several sections.
    private func checkTogether(_ sections: [ConfigurationSection], _ top: ConfigurationSection) {
        for (index, section) in sections.enumerated() {
            let listener = self.listeners[index]
            self.checkUnique(index, section)
            if self.authorization.ruleSet(named: listener.rules) == nil {
                let names = self.authorization.ruleSets.map(\.name)
                let known = names.isEmpty ? "there is none yet" : "there are: \(names.joined(separator: ", "))"
                let shown = ConfigurationText.shown(listener.rules)
                section.report("rules", "authorization.rules has no set named \"\(shown)\"; \(known)")
            }
            // Where the sources could not be read, what stands in for them is nobody's.
            guard !listener.anonymous, !top.reading.hasProblem(of: "authentication.sources") else { continue }
            let sources = self.authentication.sources.filter { $0.isAsked(about: listener.name) }
            if sources.isEmpty {
                section.report("name", "none of authentication.sources is asked about this listener's clients")
            } else if sources.allSatisfy({ $0.kind == .none }) {
                section.report(
                    "anonymous",
                    "authentication.source is none, so nobody could connect here; set source: redis, or anonymous: true"
                )
            } else if listener.clientCertificate == .none,
                let placeholder = sources[0].certificatePlaceholder,
                sources.allSatisfy({ $0.certificatePlaceholder != nil })
            {
                section.report(
                    "client_certificate",
                    "is none, but \(Self.asker(sources)) \(placeholder), so nobody could connect here; "
                        + "ask for a certificate, or use %u or %c in the command"
                )
            }
        }
        self.checkListenerNames(top)
    }

    private static func asker(_ sources: [Authentication.Source]) -> String {
        guard sources.count == 1 else {
            return "all of authentication.sources ask for a certificate, the first one for"
        }
        return sources[0].kind == .redis ? "authentication.command holds" : "authentication.source asks for"
    }

    private func checkListenerNames(_ top: ConfigurationSection) {
        for source in self.authentication.sources {
            for name in source.listeners where !self.listeners.contains(where: { $0.name.hasSameBytes(as: name) }) {
                let shown = ConfigurationText.shown(name)
                top.report(
                    "authentication",
                    "source \"\(source.name)\" names listener \"\(shown)\", which there is not"
                )
            }
        }
    }

    private func checkUnique(_ index: Int, _ section: ConfigurationSection) {
        let listener = self.listeners[index]
        for other in self.listeners[..<index] {
            if !listener.name.isEmpty, other.name.hasSameBytes(as: listener.name) {
                section.report("name", "another listener is named \"\(listener.name)\" already; names must differ")
            }
            for address in listener.addresses {
                for taken in other.addresses where taken.overlaps(address) {
                    let both = taken == address ? "\(address)" : "\(address) (as \(taken))"
                    section.report("addresses", "\(both) is taken by listener \"\(other.name)\" already")
                }
            }
        }
    }
}

extension Configuration.MQTT {
    mutating func read(_ section: inout ConfigurationSection) {
        section.size("max_packet_size", 256...268_435_460, into: &self.maxPacketSizeBytes)
        self.offer.read(&section)
        section.integer("max_topic_levels", 1...65_536, into: &self.maxTopicLevels)
        // A server must take client ids of up to 23 bytes [MQTT-3.1.3-5].
        section.integer("max_client_id_length", 23...65_535, into: &self.maxClientIDLengthBytes)
        section.size("max_will_size", 256...Limits.connectPacketBytesMax, into: &self.maxWillSizeBytes)
        section.choice("shared_subscription_spread", into: &self.sharedSpread)
        section.integer("topic_aliases_to_clients", 0...1024, into: &self.topicAliasesToClients)
        let intervals = 0...86_400 * Configuration.nanosecondsPerSecond
        section.duration("sys_interval", intervals, into: &self.sysIntervalNanoseconds)
        section.section("session") { self.session.read(&$0) }
        section.integer("max_sessions", 1...100_000_000, into: &self.maxSessions)
        section.size("max_queued_bytes_total", 0...Configuration.bytesMax, into: &self.maxQueuedBytesTotal)
        section.section("retained") { section in
            section.integer("max_messages", 0...1_000_000_000, into: &self.retained.maxMessages)
            section.size("max_bytes", 0...Configuration.bytesMax, into: &self.retained.maxBytes)
        }
        if self.maxQueuedBytesTotal < self.session.maxQueuedBytes {
            let least = SizeText.describe(bytes: self.session.maxQueuedBytes)
            section.report(
                "max_queued_bytes_total",
                "is less than session.max_queued_bytes, what one session may queue; at least \(least) is needed"
            )
        }
    }
}

extension Configuration.MQTT.Session {
    mutating func read(_ section: inout ConfigurationSection) {
        section.seconds("max_expiry", 0...(UInt32.max - 1), into: &self.maxExpirySeconds)
        // Whoever lowers the one limit alone means both.
        self.version3ExpirySeconds = min(self.version3ExpirySeconds, self.maxExpirySeconds)
        section.seconds("version3_expiry", 0...(UInt32.max - 1), into: &self.version3ExpirySeconds)
        if self.version3ExpirySeconds > self.maxExpirySeconds {
            section.report("version3_expiry", "is longer than max_expiry, \(self.maxExpirySeconds)s")
        }
        section.integer("max_subscriptions", 1...10_000_000, into: &self.maxSubscriptions)
        // Whoever allows more of them than that leaves room for means both.
        self.maxSubscriptionBytes = max(self.maxSubscriptionBytes, self.maxSubscriptions * 1024)
        section.size("max_subscription_bytes", 1024...Configuration.bytesMax, into: &self.maxSubscriptionBytes)
        section.integer("max_inflight", 1...65_535, into: &self.maxInflight)
        section.size("max_inflight_bytes", 1...Configuration.bytesMax, into: &self.maxInflightBytes)
        section.integer("max_queued_messages", 0...1_000_000_000, into: &self.maxQueuedMessages)
        section.size("max_queued_bytes", 0...Configuration.bytesMax, into: &self.maxQueuedBytes)
        section.choice("queue_full", into: &self.queueFull)
    }
}
