import Testing

@testable import Common

@Suite struct ConfigurationUseTests {
    private func askedKeys(_ text: String) -> [String] {
        Configuration.read(Array(text.utf8), baseDirectory: "/", environment: [:], settings: []).reading.askedKeys
    }

    /// A new key must be said to be somebody's.
    @Test func everyKeyIsUsedByARole() throws {
        let others = """
            listeners: [{name: a, proxy_protocol: {trusted: ["::1"]}}]
            authentication:
              sources:
                - {name: a, listeners: [a], on_failure: next, redis: {cluster: {servers: [a]}}}
            """
        let keys = try self.askedKeys(documentedConfiguration()) + self.askedKeys(others)
        #expect(keys.count > 150)
        for key in keys {
            // Of a section it is said for what is in it.
            let isSection = keys.contains { $0.hasPrefix(key + ".") }
            #expect(isSection || ConfigurationUse.roles(of: key) != nil, "\(key)")
        }
        #expect(ConfigurationUse.roles(of: "mqtt.unheard_of") == nil)
        #expect(ConfigurationUse.roles(of: "listeners.0.unheard_of") == nil)
    }

    /// Each role named every key that had changed.
    @Test func `regression: of what waits for a restart each role names what it uses`() throws {
        let before = try parseConfiguration(smallestConfiguration)
        let after = try parseConfiguration(
            smallestConfiguration.replacing("tls: {}", with: "tls: {groups: P-256}\n    max_qos: 1")
                .replacing("allow: all", with: "allow: publish") + """
                    authentication: {cache: {memory_entries: 5, stale_max: 2d}, redis: {pipeline_max: 7}}
                    mqtt: {max_packet_size: 1MiB, publish_rate: {messages_per_second: 3}}
                    log: {level: debug, refused_per_second: 7}
                    link_users: [root]

                    """
        )
        func keys(_ role: LinkHello.Role) -> [String] {
            ConfigurationUse.waitingKeys(of: role, before.written, after.written)
        }
        #expect(keys(.router) == ["link_users.0", "listeners.devices.max_qos", "mqtt.max_packet_size"])
        #expect(
            keys(.listener) == [
                "authentication.cache.stale_max", "authorization.rules.default.0.allow", "log.refused_per_second",
                "mqtt.max_packet_size", "mqtt.publish_rate.messages_per_second",
            ]
        )
        #expect(
            keys(.authWorker) == [
                "authentication.cache.memory_entries", "authentication.cache.stale_max",
                "authentication.redis.pipeline_max", "authorization.rules.default.0.allow", "link_users.0",
            ]
        )
        #expect(ConfigurationUse.roles(of: "authentication.sources.3.cache.directory") == [.authWorker])
    }

    private let twoListeners = """
          - name: one
            tls: {groups: P-256}
            addresses: ["127.0.0.1:1001", "127.0.0.1:1002"]
            max_qos: 1
          - name: two
            tls: {}
            max_connections: 7

        """

    private func waiting(_ role: LinkHello.Role, _ before: String, _ after: String) throws -> [String] {
        let rest = "authorization: {rules: {default: []}}\n"
        return ConfigurationUse.waitingKeys(
            of: role,
            try parseConfiguration(before + rest).written,
            try parseConfiguration(after + rest).written
        )
    }

    /// It named all keys of all entries behind the one that had been moved.
    @Test func `regression: listeners in another order are no change`() throws {
        let entries = self.twoListeners.replacing("  - name: two", with: "|  - name: two").split(separator: "|")
        let (before, after) = (
            "listeners:\n\(entries[0])\(entries[1])", "listeners:\n\(entries[1])\(entries[0])"
        )
        #expect(try self.waiting(.listener, before, after) == [])
        let changed = after.replacing("127.0.0.1:1002", with: "127.0.0.1:1003").replacing(
            "max_qos: 1",
            with: "max_qos: 0"
        )
        #expect(try self.waiting(.listener, before, changed) == ["listeners.one.addresses.1"])
        #expect(try self.waiting(.router, before, changed) == ["listeners.one.max_qos"])
    }

    @Test func `regression: a listener that was added or removed is named once, and those behind it are not`() throws {
        let before =
            "listeners:\n  - {name: zero, addresses: [\"127.0.0.1:1\"], tls: {groups: P-384}}\n\(self.twoListeners)"
        let after = "listeners:\n\(self.twoListeners)"
        #expect(try self.waiting(.listener, before, after) == ["listeners.zero (removed)"])
        #expect(try self.waiting(.router, after, before) == ["listeners.zero (added)"])
        let renamed = after.replacing("name: one", with: "name: first")
        #expect(try self.waiting(.listener, after, renamed) == ["listeners.first (added)", "listeners.one (removed)"])
    }

    /// They are asked one after the other.
    @Test func `sources of authentication are told by their names, and their order when it has changed`() throws {
        func text(_ names: [String], pipelineMax: Int = 5) -> String {
            let sources = names.map { name in
                "    - {name: \(name), on_failure: next, redis: {pipeline_max: \(name == "b" ? pipelineMax : 5)}}\n"
            }
            return "listeners:\n  - {name: one, tls: {}}\nauthentication:\n  sources:\n\(sources.joined())"
        }
        let before = text(["a", "b"])
        #expect(
            try self.waiting(.authWorker, before, text(["a", "b"], pipelineMax: 6))
                == ["authentication.sources.b.redis.pipeline_max"]
        )
        #expect(try self.waiting(.authWorker, before, text(["b", "a"])) == ["authentication.sources (order)"])
        #expect(try self.waiting(.authWorker, before, text(["c", "a", "b"])) == ["authentication.sources.c (added)"])
        #expect(try self.waiting(.router, before, text(["b", "a"])) == [])
    }
}
