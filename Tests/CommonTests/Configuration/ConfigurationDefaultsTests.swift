import TestSupport
import Testing

@testable import Common

/// `deploy/martlet.yaml` is the reference that people read: it must say what is so.
@Suite struct ConfigurationDefaultsTests {
    /// What `Configuration()` becomes with the documented listener and rule, which have no default.
    private func documented(listenerFiles directory: String) -> Configuration {
        var configuration = Configuration()
        var listener = Configuration.Listener(name: "devices")
        var tls = Configuration.Listener.TLS()
        tls.certificateFile = "\(directory)/\(tls.certificateFile)"
        tls.keyFile = "\(directory)/\(tls.keyFile)"
        tls.clientCAFile = tls.clientCAFile.map { "\(directory)/\($0)" }
        listener.tls = tls
        configuration.listeners = [listener]
        let rule = Configuration.Authorization.Rule(
            permission: .allow,
            actions: .all,
            topics: [Configuration.Authorization.TopicTemplate("devices/%C/#")]
        )
        configuration.authorization.ruleSets = [Configuration.Authorization.RuleSet(name: "default", rules: [rule])]
        return configuration
    }

    /// Wherever it was written.
    private func meaning(_ text: String) throws -> Configuration {
        var parsed = try parseConfiguration(text)
        parsed.written = WrittenValues()
        return parsed
    }

    @Test func theExampleShowsTheDefaults() throws {
        let parsed = try self.meaning(documentedConfiguration())
        #expect(parsed == self.documented(listenerFiles: "/etc/martlet"))
    }

    @Test func withoutKeysTheDefaultsAreTheSame() throws {
        #expect(try self.meaning(smallestConfiguration) == self.documented(listenerFiles: "/etc/martlet"))
    }

    @Test func theCommentedKeysOfTheExampleAreGood() throws {
        let text = try documentedConfiguration()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            // A commented key: spaces, "# ", a key of lower case letters, a colon, a space and a value.
            let spaces = line.prefix { $0 == " " }
            let rest = line.dropFirst(spaces.count)
            guard rest.hasPrefix("# ") else { return String(line) }
            let content = rest.dropFirst(2)
            let key = content.prefix { $0.isLowercase || $0 == "_" }
            guard !key.isEmpty, content.dropFirst(key.count).hasPrefix(": ") else { return String(line) }
            return String(spaces + content)
        }
        let configuration = try parseConfiguration(lines.joined(separator: "\n"))
        #expect(configuration.linkUsers == ["martlet-listener", "martlet-router"])
        #expect(configuration.listeners.first?.tls?.keyPasswordFile == "/etc/martlet/server.key.password")
        #expect(configuration.authentication.redis.passwordFile == "/etc/martlet/redis.password")
    }

    @Test func everyKeyIsInTheExample() throws {
        let text = try documentedConfiguration()
        let (_, reading) = Configuration.read(
            Array(text.utf8),
            baseDirectory: "/",
            environment: [:],
            settings: []
        )
        let documentedKeys = Set(
            text.split(separator: "\n").compactMap { line -> String? in
                let content = line.drop { $0 == " " || $0 == "#" || $0 == "-" }
                let key = content.prefix { $0.isLowercase || $0 == "_" || $0.isNumber }
                return content.dropFirst(key.count).hasPrefix(":") ? String(key) : nil
            }
        )
        // `deny` is named as the alternative in the comment of `allow`, `sources` as that of the keys after it, Sentinel and
        // Cluster as that of `url`.
        for key in reading.askedKeys {
            let last = key.split(separator: ".").last.map(String.init) ?? key
            let isOther = key.hasPrefix("authentication.redis.") && text.contains(last)
            #expect(documentedKeys.contains(last) || ["deny", "sources"].contains(last) || isOther, "\(key)")
        }
        #expect(reading.askedKeys.count > 70)
    }

    @Test func everyKeyIsInTheReference() throws {
        let reference = try repositoryFile("docs/configuration.md")
        let (_, reading) = Configuration.read(
            Array(try documentedConfiguration().utf8),
            baseDirectory: "/",
            environment: [:],
            settings: []
        )
        for key in reading.askedKeys {
            let parts = key.split(separator: ".").map(String.init)
            let isSection = reading.askedKeys.contains { $0.hasPrefix(key + ".") }
            guard !isSection, !key.hasPrefix("authorization.rules.default") || parts.count == 5 else { continue }
            // `redis.url`, or `url` in a table of its own.
            let last = parts.suffix(1).joined(separator: ".")
            let lastTwo = parts.suffix(2).joined(separator: ".")
            let isThere = ["`\(last)`", "`\(lastTwo)`"].contains { reference.contains($0) }
            #expect(isThere, "\(key)")
        }
    }

    @Test func theExamplesOfTheReferenceAreGood() throws {
        let reference = try repositoryFile("docs/configuration.md")
        let blocks = reference.split(separator: "```yaml\n").dropFirst().compactMap { $0.split(separator: "```").first }
        #expect(blocks.count == 4)
        for block in blocks { #expect(configurationMistakes(String(block)) == []) }
    }

    /// Every key with another value than its default.
    private static let everythingChanged = """
        runtime_directory: run
        state_directory: state
        durability: disk
        processes: {listeners: 3, auth_workers: 4, max_connection_rate: 5, drain_rate: 6, max_handshakes: 8, router_absence_max: 7s}
        bans_file: banned
        link_users: [a, b]
        log: {level: debug, refused_per_second: 9}
        listeners:
          - name: other
            addresses: ["0.0.0.0:1883", "[::1]:1884"]
            transport: tcp
            allow_insecure_network: true
            anonymous: true
            rules: office
            client_certificate: none
            user_name_from: client
            handshake_timeout: 1s
            connect_timeout: 2s
            max_connections: 7
            max_connection_rate: 8
            proxy_protocol: {trusted: ["10.0.0.0/8", "::1"]}
            certificate_expired: keep
            certificate_expiry_grace: 9s
          - name: tls
            client_certificate: optional
            user_name_from: dn
            client_id: from_cn
            protocol_versions: [3.1]
            max_qos: 0
            retain_available: true
            receive_maximum: 7
            publish_rate: {bytes_per_second: 8B}
            tls:
              certificate_file: a
              key_file: /b
              key_password_file: c
              client_ca_file: d
              min_version: "1.3"
              max_version: "1.2"
              ciphers: A:B
              cipher_suites: C
              groups: P-384
              verify_depth: 9
              session_tickets: false
              ticket_lifetime: 2h
              ticket_secret_file: e
              previous_ticket_secret_file: f
              crl_files: [g]
              crl_directory: h
              crl_urls: ["http://i/j"]
              crl_overdue: hard
              crl_missing: refuse
        authentication:
          source: none
          command: HMGET k:%u password_hash salt
          password_hash: salt,sha256
          super_command: HGET k:%u is_superuser
          acl_command: HGETALL acl:%u
          key: "%u"
          redis:
            url: unix:///r.sock
            password_file: p
            connect_timeout: 3s
            query_timeout: 4s
            pipeline_max: 5
            queue_max: 6
            invalidation: keyspace
            poll_interval: 17s
            sentinel: {servers: [s], master: m, user: u, password_file: q}
            tls:
              ca_file: t
              certificate_file: u
              key_file: v
              key_password_file: w
              server_name: x
              verify: none
          password_changed: close
          revoked_will: suppress
          worker_timeout: 7s
          cache:
            enabled: false
            directory: elsewhere
            positive_ttl: 8s
            stale_max: 9s
            stale_after: 12ms
            negative_ttl: 11s
            memory_entries: 12
            disk_entries: 13
            negative_entries: 14
        authorization:
          no_match: allow
          deny_action: disconnect
          acl: only
          rules:
            office:
              - deny: publish
                topics: ["a/%u", "eq a/+"]
                qos: [0, 2]
                retain: true
              - allow: subscribe
                topics: [b]
        mqtt:
          max_packet_size: 1KiB
          max_qos: 1
          retain_available: false
          wildcard_subscriptions: false
          shared_subscriptions: false
          subscription_identifiers: false
          receive_maximum: 2
          topic_alias_maximum: 3
          max_keep_alive: 4s
          max_topic_levels: 5
          max_client_id_length: 23
          max_will_size: 300B
          empty_client_id: refuse
          protocol_versions: ["3.1.1", 5]
          publish_rate: {messages_per_second: 1, bytes_per_second: 2B, burst: 3s, exceeded: disconnect}
          shared_subscription_spread: least_inflight
          topic_aliases_to_clients: 5
          sys_interval: 6s
          session:
            max_expiry: 7s
            version3_expiry: 6s
            max_subscriptions: 8
            max_subscription_bytes: 9KiB
            max_inflight: 9
            max_inflight_bytes: 10B
            max_queued_messages: 10
            max_queued_bytes: 11B
            queue_full: drop_newest
          max_sessions: 12
          max_queued_bytes_total: 13B
          retained: {max_messages: 14, max_bytes: 15B}
        flow_control: {session_credit: 2KiB, link_credit: 3KiB, partial_packets: 4KiB}
        """

    /// The same of a source of authentication, which is an element of a list.
    @Test func everyPropertyOfASourceHasAKey() throws {
        let (read, _) = Configuration.read(
            Array(Self.everythingChanged.utf8),
            baseDirectory: "/base",
            environment: [:],
            settings: []
        )
        let changed = try #require(read?.authentication.sources.first)
        var same: [String] = []
        let source = Configuration.Authentication.Source()
        Self.compare(Mirror(reflecting: source), Mirror(reflecting: changed), path: "source", into: &same)
        // Those are keys of `sources` alone.
        #expect(same == ["source.name", "source.listeners", "source.onFailure"])
    }

    /// Every property of the structs differs from its default, so none is without a key, and no key is read into the wrong one.
    @Test func everyPropertyHasAKey() throws {
        let (read, reading) = Configuration.read(
            Array(Self.everythingChanged.utf8),
            baseDirectory: "/base",
            environment: [:],
            settings: []
        )
        // These four contradict each other on purpose: no file can change all at once.
        #expect(
            reading.problems.map(\.key).sorted() == [
                "authentication.redis.url", "listeners.1.anonymous", "listeners.1.rules", "listeners.1.tls.min_version",
            ]
        )
        let changed = try #require(read)
        var same: [String] = []
        Self.compare(Mirror(reflecting: Configuration()), Mirror(reflecting: changed), path: "", into: &same)
        #expect(same == [])

        let defaults = Configuration.Listener(name: "")
        Self.compare(
            Mirror(reflecting: defaults),
            Mirror(reflecting: try #require(changed.listeners.first)),
            path: "listener",
            into: &same
        )
        #expect(same == ["listener.userNameFrom", "listener.clientID", "listener.tls"])
        same = []
        let second = try #require(changed.listeners.last)
        #expect(second.userNameFrom == .subject)
        #expect(second.clientCertificate == .optional)
        #expect(second.clientID == .fromCommonName)
        // What a listener says of its own, and the rest from the `mqtt` section.
        var offer = changed.mqtt.offer
        offer.protocolVersions = [.init(.v3_1)]
        offer.maxQoS = .atMostOnce
        offer.retainAvailable = true
        offer.receiveMaximum = 7
        offer.publishRate.bytesPerSecond = 8
        #expect(second.offer == offer)
        #expect(changed.listeners.first?.offer == changed.mqtt.offer)
        Self.compare(
            Mirror(reflecting: Configuration.Listener.TLS()),
            Mirror(reflecting: try #require(second.tls)),
            path: "tls",
            into: &same
        )
        #expect(same == [])
        let rules = try #require(changed.authorization.ruleSet(named: "office")).rules
        typealias Rule = Configuration.Authorization.Rule
        #expect(
            rules == [
                Rule(
                    permission: .deny,
                    actions: .publish,
                    topics: [.init("a/%u"), .init("a/+", isLiteral: true)],
                    qosMask: 0b101,
                    retain: .onlyRetained
                ),
                Rule(permission: .allow, actions: .subscribe, topics: [.init("b")]),
            ]
        )
        #expect(changed.runtimeDirectory == "/base/run")
        #expect(changed.authentication.cache.directory == "/base/state/elsewhere")
        #expect(second.tls?.keyFile == "/b")
        #expect(second.tls?.clientCAFile == "/base/d")
    }

    /// Leaves that have the same value in both. Lists and optionals count as leaves.
    private static func compare(_ left: Mirror, _ right: Mirror, path: String, into same: inout [String]) {
        for (leftChild, rightChild) in zip(left.children, right.children) {
            let label = leftChild.label ?? "?"
            let childPath = path.isEmpty ? label : "\(path).\(label)"
            let mirror = Mirror(reflecting: leftChild.value)
            if mirror.displayStyle == .struct, String(describing: mirror.subjectType) != "RedisURL",
                String(describing: mirror.subjectType) != "String", !mirror.children.isEmpty
            {
                Self.compare(mirror, Mirror(reflecting: rightChild.value), path: childPath, into: &same)
            } else if "\(leftChild.value)" == "\(rightChild.value)" {
                same.append(childPath)
            }
        }
    }

    @Test func loweringOneExpiryLowersTheOther() throws {
        let configuration = try parseConfiguration("mqtt: {session: {max_expiry: 1h}}\n" + smallestConfiguration)
        #expect(configuration.mqtt.session.version3ExpirySeconds == 3600)
    }

    /// EMQX 5 takes a salt that is not asked for as empty; in EMQX 4's form that is a mistake.
    @Test(arguments: [
        ("{name: sha256}", "HMGET k:%C password", PasswordHash.Salt.ignored),
        ("{name: sha256}", "HMGET k:%C password salt", .prefix), ("{name: plain}", "HGET k:%C password", .ignored),
        ("{name: sha256, salt_position: suffix}", "HMGET k:%C password", .ignored),
        ("{name: sha256, salt_position: suffix}", "HMGET k:%C password salt", .suffix),
        ("{name: sha256}", "GET k:%C", .ignored), ("{name: sha256}", "LRANGE k:%C 0 1", .prefix),
    ])
    func aSaltThatIsNotAskedFor(_ hash: String, _ command: String, _ salt: PasswordHash.Salt) throws {
        let text = "authentication: {password_hash: \(hash), command: \"\(command)\"}\n" + smallestConfiguration
        #expect(try parseConfiguration(text).authentication.passwordHash.salt == salt)
    }

    @Test func pathsOfSockets() {
        var configuration = Configuration()
        configuration.runtimeDirectory = "/r"
        #expect(configuration.routerSocketPath == "/r/router.sock")
        #expect(configuration.authWorkerSocketPath(2) == "/r/authworker-2.sock")
        #expect(configuration.controlSocketPath(role: "listener", instance: 1) == "/r/control/listener-1.sock")
    }
}
