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
        #expect(keys(.router) == ["link_users.0", "listeners.0.max_qos", "mqtt.max_packet_size"])
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
}
