extension Configuration.Offer {
    /// Reads the keys that are in the `mqtt` section and in each listener's; what is not said stays as it is.
    mutating func read(_ section: inout ConfigurationSection) {
        self.readVersions(&section)
        var qos = self.maxQoS.rawValue
        section.integer("max_qos", 0...2, into: &qos)
        self.maxQoS = QoS(rawValue: qos) ?? self.maxQoS
        section.flag("retain_available", into: &self.retainAvailable)
        section.flag("wildcard_subscriptions", into: &self.wildcardSubscriptions)
        section.flag("shared_subscriptions", into: &self.sharedSubscriptions)
        section.flag("subscription_identifiers", into: &self.subscriptionIdentifiers)
        section.integer("receive_maximum", 1...65_535, into: &self.receiveMaximum)
        section.integer("topic_alias_maximum", 0...65_535, into: &self.topicAliasMaximum)
        section.seconds("max_keep_alive", 1...65_535, into: &self.maxKeepAliveSeconds)
        section.choice("empty_client_id", into: &self.emptyClientID)
        section.section("publish_rate") { self.publishRate.read(&$0) }
    }

    private static let versions: [(text: String, version: ProtocolVersion)] = [
        ("3.1", .v3_1), ("3.1.1", .v3_1_1), ("5.0", .v5_0), ("5", .v5_0),
    ]

    private mutating func readVersions(_ section: inout ConfigurationSection) {
        guard let elements = section.list("protocol_versions") else { return }
        var versions: Configuration.ProtocolVersions = []
        for (node, path) in elements {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            guard let known = Self.versions.first(where: { $0.text.hasSameBytes(as: text) }) else {
                let shown = ConfigurationText.shown(text)
                section.reading.report(node.origin, path, "\"\(shown)\" is not one of 3.1, 3.1.1 and 5.0")
                continue
            }
            versions.insert(Configuration.ProtocolVersions(known.version))
        }
        if elements.isEmpty {
            section.report("protocol_versions", "names none, so nobody could connect; write some of 3.1, 3.1.1 and 5.0")
        }
        self.protocolVersions = versions
    }
}

extension Configuration.Offer.PublishRate {
    mutating func read(_ section: inout ConfigurationSection) {
        section.integer("messages_per_second", 0...1_000_000_000, into: &self.messagesPerSecond)
        section.size("bytes_per_second", 0...Configuration.bytesMax, into: &self.bytesPerSecond)
        let bursts = 10 * Configuration.nanosecondsPerMillisecond...3600 * Configuration.nanosecondsPerSecond
        section.duration("burst", bursts, into: &self.burstNanoseconds)
        section.choice("exceeded", into: &self.exceeded)
    }
}
