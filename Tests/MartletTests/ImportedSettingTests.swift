import Common
import Testing

@testable import Martlet

/// What EMQX's zones and its `mqtt` section say.
@Suite struct ImportedSettingTests {
    private static let redis4 = "auth.redis.auth_cmd = HMGET mqtt_user:%u password\n"
    private static let redis5 =
        "authentication = {mechanism = password_based, backend = redis, server = \"r:1\", cmd = \"HMGET u:${username} password_hash salt\"}\n"

    private func warns(_ imported: ImportedConfiguration, _ line: Int, _ text: String) -> Bool {
        imported.warnings.contains { $0.line == line && $0.text.contains(text) }
    }

    private func configuration(_ imported: ImportedConfiguration) throws -> Configuration {
        let yaml = imported.yaml(passwordFiles: imported.sources.map { $0.password.map { _ in "redis.password" } })
        return try Configuration.parse(Array(yaml.utf8), file: "made.yaml", baseDirectory: "/base")
    }

    @Test func `regression: emqx4's mqtt settings and those of zones are taken over`() throws {
        let text =
            Self.redis4 + """
                mqtt.max_packet_size = 2MB
                mqtt.max_qos_allowed = 1
                mqtt.retain_available = false
                mqtt.wildcard_subscription = off
                listener.tcp.a = 127.0.0.1:1
                listener.tcp.a.zone = external
                listener.tcp.b = 127.0.0.1:2
                listener.tcp.b.zone = internal
                zone.external.max_qos_allowed = 2
                zone.external.shared_subscription = false
                zone.external.server_keepalive = 60
                zone.external.session_expiry_interval = 1d2h
                zone.internal.session_expiry_interval = 26h
                zone.external.max_mqueue_len = 0
                zone.internal.max_mqueue_len = 0
                """
        let imported = EMQX4Reader.read(text)
        let configuration = try self.configuration(imported)
        #expect(configuration.mqtt.maxPacketSizeBytes == 2 << 20 && configuration.mqtt.offer.maxQoS == .atLeastOnce)
        #expect(configuration.listeners.map(\.offer.maxQoS) == [.exactlyOnce, .atLeastOnce])
        #expect(configuration.listeners.map(\.offer.sharedSubscriptions) == [false, true])
        #expect(configuration.listeners.map(\.offer.maxKeepAliveSeconds) == [60, 65_535])
        #expect(!configuration.mqtt.offer.retainAvailable && !configuration.mqtt.offer.wildcardSubscriptions)
        #expect(imported.settings.contains(ImportedSetting.Written(key: "session.version3_expiry", value: "93600s")))
        #expect(self.warns(imported, 12, "server_keepalive becomes max_keep_alive: clients may choose a shorter one"))
        #expect(self.warns(imported, 15, "zone.external.max_mqueue_len = 0 is not taken over"))
        #expect(configuration.mqtt.session.maxQueuedMessages == 10_000)
    }

    @Test func `regression: emqx4's settings that decide who gets in are named with their lines`() throws {
        let text =
            Self.redis4 + """
                listener.tcp.external = 127.0.0.1:1883
                listener.tcp.external.zone = external
                zone.external.mountpoint = devices/%u/
                zone.external.use_username_as_clientid = true
                zone.external.bypass_auth_plugins = true
                zone.external.force_gc_policy = 1000|1MB
                zone.internal.mountpoint = x
                node.name = emqx
                node.cookie = c
                listener.tcp.external.access.1 = deny 10.0.0.0/8
                """
        let imported = EMQX4Reader.read(text)
        #expect(self.warns(imported, 4, "zone.external.mountpoint is not taken over: topics are what clients write"))
        #expect(self.warns(imported, 5, "zone.external.use_username_as_clientid is not taken over for tcp-external"))
        #expect(self.warns(imported, 6, "zone.external.bypass_auth_plugins is not taken over"))
        #expect(self.warns(imported, 8, "zone.internal is left out"))
        #expect(
            self.warns(imported, 11, "external.access.1 is not taken over: addresses that were kept out are let in")
        )
        // Behind a file's name and a colon the number of settings must not look like a line.
        let rest = " 3 other settings (force_gc_policy, node) are not taken over"
        #expect(imported.warnings.map(\.description).contains(rest))
        #expect(throws: Never.self) { try self.configuration(imported) }
    }

    @Test func `user names that are common names become client ids`() throws {
        let listener =
            "listener.ssl.a = 1\nlistener.ssl.a.verify = verify_peer\nlistener.ssl.a.fail_if_no_peer_cert = true\n"
            + "listener.ssl.a.peer_cert_as_username = cn\nlistener.ssl.a.zone = z\nzone.z.use_username_as_clientid = on\n"
        let listeners = try self.configuration(EMQX4Reader.read(Self.redis4 + listener)).listeners
        #expect(listeners.map(\.clientID) == [.fromCommonName])
        let text =
            Self.redis5
            + "listeners.ssl.a { bind = 1, ssl_options {verify = verify_peer, fail_if_no_peer_cert = true} }\n"
            + "mqtt { peer_cert_as_username = cn, use_username_as_clientid = true }"
        #expect(try self.configuration(EMQX5Reader.read(text)).listeners.map(\.clientID) == [.fromCommonName])
    }

    @Test func `regression: a TLS file of emqx4's Redis without TLS is named`() throws {
        let imported = EMQX4Reader.read(Self.redis4 + "auth.redis.cafile = ca.pem\n")
        #expect(self.warns(imported, 2, "auth.redis.cafile is left out: auth.redis.ssl is not on"))
        let secure = EMQX4Reader.read(Self.redis4 + "auth.redis.cafile = ca.pem\nauth.redis.ssl = on\n")
        #expect(!self.warns(secure, 2, "is left out"))
        #expect(try self.configuration(secure).authentication.redis.tls.caFile == "/base/ca.pem")
    }

    @Test func `regression: emqx5's zones say who a listener's clients are`() throws {
        let options = "ssl_options {verify = verify_peer, fail_if_no_peer_cert = true}"
        let text =
            Self.redis5 + """
                mqtt { peer_cert_as_username = dn, max_qos_allowed = 1, max_packet_size = 1MB }
                zones.z.mqtt { peer_cert_as_username = cn, peer_cert_as_clientid = cn, max_qos_allowed = 0 }
                zones.off.mqtt.peer_cert_as_username = disabled
                zones.off.mqtt.max_packet_size = 2MB
                zones.z.flapping_detect.enable = true
                zones.z.mqtt.strict_mode = true
                zones.none.mqtt.max_qos_allowed = 0
                listeners.ssl.a { bind = 1, zone = z, \(options) }
                listeners.ssl.b { bind = 2, zone = off, \(options) }
                listeners.ssl.c { bind = 3, \(options) }
                zones.default.mqtt.retain_available = false
                """
        let imported = try EMQX5Reader.read(text)
        let configuration = try self.configuration(imported)
        #expect(configuration.listeners.map(\.userNameFrom) == [.commonName, .client, .subject])
        #expect(configuration.listeners.map(\.clientID) == [.fromCommonName, .any, .any])
        #expect(configuration.listeners.map(\.offer.maxQoS) == [.atMostOnce, .atLeastOnce, .atLeastOnce])
        #expect(configuration.listeners.map(\.offer.retainAvailable) == [true, true, false])
        #expect(configuration.mqtt.maxPacketSizeBytes == 1 << 20)
        #expect(
            self.warns(imported, 5, "zones.off.mqtt.max_packet_size is not taken over: mqtt.max_packet_size is one")
        )
        #expect(self.warns(imported, 6, "zones.z.flapping_detect is not taken over"))
        #expect(self.warns(imported, 7, "zones.z.mqtt.strict_mode is not taken over"))
        #expect(self.warns(imported, 8, "zones.none is left out"))
    }

    @Test func `sessions may last longer than Martlet's longest by default`() throws {
        let text = Self.redis5 + "mqtt.session_expiry_interval = 30d\nlisteners.tcp.a.bind = \"127.0.0.1:1\""
        let session = try self.configuration(try EMQX5Reader.read(text)).mqtt.session
        #expect(session.version3ExpirySeconds == 30 * 86_400 && session.maxExpirySeconds == 30 * 86_400)
    }

    @Test(arguments: [
        ("max_packet_size", "1MB", "1MiB"), ("max_packet_size", "268435456", "256MiB"), ("max_packet_size", "1TB", nil),
        ("max_packet_size", "9223372036854775807GB", nil), ("session_expiry_interval", "1h30m", "5400s"),
        ("session_expiry_interval", "infinity", nil), ("session_expiry_interval", "99999999999999999999d", nil),
        ("session_expiry_interval", "", nil), ("server_keepalive", "disabled", "65535s"), ("max_qos_allowed", "3", nil),
        ("retain_available", "on", "true"), ("retain_available", "1", nil), ("max_subscriptions", "infinity", nil),
    ])
    func valuesAreReadInEMQXsForms(_ name: String, _ value: String, _ written: String?) throws {
        let setting = try #require(ImportedSetting.all.first { $0.name == name })
        #expect(setting.written(value)?.value == written)
    }

    @Test(arguments: ["1500ms", "1.5h"]) func `regression: the forms of whole seconds are named`(_ value: String) {
        let imported = EMQX4Reader.read(Self.redis4 + "mqtt.session_expiry_interval = \(value)\n")
        #expect(self.warns(imported, 2, "whole seconds, in forms such as 90, 90s, 2h and 1h30m"))
    }
}
