import Common

/// EMQX 4's `emqx.conf` and `emqx_auth_redis.conf`: lines of `key = value`.
struct EMQX4Reader {
    private struct Setting {
        var line: Int
        var value: String
    }

    private var settings: [String: Setting] = [:]
    private var order: [String] = []
    private var used: Set<String> = []
    private var result = ImportedConfiguration()

    static func read(_ text: String) -> ImportedConfiguration {
        var reader = EMQX4Reader()
        reader.readLines(text)
        reader.readSource()
        reader.readDefaults()
        reader.readListeners()
        reader.nameTheRest()
        return reader.result
    }

    private mutating func readLines(_ text: String) {
        for (index, line) in ImportedText.lines(text).enumerated() {
            let content = ImportedText.trimmed(line)
            guard !content.isEmpty, !content.hasPrefix("#") else { continue }
            guard let equals = content.firstIndex(of: "=") else {
                self.result.warn(index + 1, "this line is not understood")
                continue
            }
            let key = String(content[..<equals].filter { !$0.isWhitespace })
            let written = ImportedText.trimmed(String(content[content.index(after: equals)...]))
            var value = Self.withoutComment(written)
            if value != written { self.result.warn(index + 1, "what follows # is taken for a comment") }
            if value.count >= 2, value.first == "\"", value.last == "\"" {
                value = String(value.dropFirst().dropLast())
            }
            if self.settings[key] == nil { self.order.append(key) }
            self.settings[key] = Setting(line: index + 1, value: value)
        }
    }

    /// Up to a `#` behind a blank; within a word or quotes it is part of the value.
    private static func withoutComment(_ value: String) -> String {
        var isQuoted = value.hasPrefix("\"")
        var last: UInt8 = isQuoted ? UInt8(ascii: "\"") : UInt8(ascii: " ")
        for (index, byte) in zip(value.utf8.indices, value.utf8).dropFirst(isQuoted ? 1 : 0) {
            if byte == UInt8(ascii: "#"), !isQuoted, last == 0x20 || last == 0x09 {
                return ImportedText.trimmed(String(value[..<index]))
            }
            if byte == UInt8(ascii: "\"") { isQuoted = false }
            last = byte
        }
        return value
    }

    /// An empty value is none.
    private mutating func take(_ key: String) -> Setting? {
        self.used.insert(key)
        return self.settings[key].flatMap { $0.value.isEmpty ? nil : $0 }
    }

    private mutating func value(_ key: String) -> String? { self.take(key)?.value }

    private mutating func readSource() {
        guard self.order.contains(where: { $0.hasPrefix("auth.redis.") }) else {
            return self.result.warn(
                0,
                "there is no auth.redis: import emqx_auth_redis.conf as well, or write authentication by hand"
            )
        }
        var source = ImportedConfiguration.Source()
        source.name = "redis"
        source.kind = self.value("auth.redis.type") ?? "single"
        let server = self.take("auth.redis.server")
        source.setServers([server?.value ?? "127.0.0.1"])
        source.sentinelMaster = self.value("auth.redis.sentinel")
        source.database = self.value("auth.redis.database").flatMap { Int($0) } ?? 0
        source.password = self.value("auth.redis.password")
        source.command = self.value("auth.redis.auth_cmd") ?? "HMGET mqtt_user:%u password"
        self.checkTemplate("auth.redis.auth_cmd", source.command)
        source.superCommand = self.value("auth.redis.super_cmd")
        source.accessCommand = self.value("auth.redis.acl_cmd")
        if source.accessCommand != nil { self.result.accessRows = "only" }
        if let hash = self.take("auth.redis.password_hash") {
            source.passwordHash = ImportedConfiguration.quoted(hash.value)
            do throws(ConfigurationMistake) {
                _ = try PasswordHash(text: hash.value)
            } catch {
                self.result.warn(hash.line, "password_hash \(error.reason); EMQX 4 takes it as plain: choose one")
            }
        }
        self.readTLS(&source)
        self.result.check(&source, line: server?.line ?? 0)
        for key in ["auth.redis.pool", "auth.redis.query_timeout"] {
            guard let setting = self.take(key) else { continue }
            self.result.warn(setting.line, "\(key) is left out: one connection takes all look-ups, see redis.timeout")
        }
        self.result.sources = [source]
    }

    private mutating func readTLS(_ source: inout ImportedConfiguration.Source) {
        source.usesTLS = ["auth.redis.ssl", "auth.redis.ssl.enable"].contains { key in
            ["on", "true"].contains(self.value(key))
        }
        source.caFile = self.value("auth.redis.ssl.cacertfile") ?? self.value("auth.redis.cafile")
        source.certificateFile = self.value("auth.redis.ssl.certfile") ?? self.value("auth.redis.certfile")
        source.keyFile = self.value("auth.redis.ssl.keyfile") ?? self.value("auth.redis.keyfile")
        let serverName = self.value("auth.redis.ssl.server_name_indication")
        source.serverName = serverName == "disable" ? nil : serverName
        let verify = self.take("auth.redis.ssl.verify")
        guard source.usesTLS, verify?.value != "true", verify?.value != "verify_peer" else { return }
        self.result.warn(
            verify?.line ?? 0,
            "EMQX did not verify Redis' certificate; it is verified here: name its authority in tls.ca_file"
        )
    }

    private mutating func checkTemplate(_ key: String, _ command: String) {
        guard command.contains("%d") || command.contains("%C") else { return }
        let line = self.settings[key]?.line ?? 0
        self.result.warn(
            line,
            "EMQX 4 fills in %C and %d first and splits the command at spaces afterwards: for a name with a space it asked "
                + "for a shorter key; here the whole name is the key, so check the rows of such devices"
        )
        if command.contains("%d") {
            self.result.warn(
                line,
                "%d is the whole subject, such as CN=name,O=company; martlet auth test --cert shows the key"
            )
        }
    }

    private mutating func readDefaults() {
        let anonymous = self.take("allow_anonymous")
        let isWhole = self.order.contains { !$0.hasPrefix("auth.redis.") }
        if anonymous?.value == "true" || (anonymous == nil && isWhole) {
            self.result.warn(
                anonymous?.line ?? 0,
                "allow_anonymous is true\(anonymous == nil ? " by default" : ""): unknown clients, and all clients while Redis is away, "
                    + "were let in; here they are refused, or told that the server is unavailable"
            )
        }
        let noMatch = self.take("acl_nomatch")
        if let value = noMatch?.value { self.result.noMatch = value }
        if noMatch?.value == "allow" || (noMatch == nil && isWhole) {
            self.result.noMatch = "deny"
            self.result.warn(
                noMatch?.line ?? 0,
                "acl_nomatch is allow\(noMatch == nil ? " by default" : ""): clients without rows, and all while Redis is away, could do "
                    + "everything; no_match: deny is written, and rules for such clients belong into authorization.rules"
            )
        }
        self.result.denyAction = self.value("acl_deny_action")
        if let file = self.take("acl_file") {
            self.result.warn(
                file.line,
                "the rules in \(file.value) are not taken over; write them into authorization.rules"
            )
        }
    }

    private mutating func readListeners() {
        for key in self.order {
            let words = key.split(separator: ".").map(String.init)
            guard words.count == 3, words[0] == "listener", let setting = self.settings[key] else { continue }
            if let enable = self.take("\(key).enable"), ["off", "false"].contains(enable.value) {
                for name in self.order where name == key || name.hasPrefix("\(key).") { self.used.insert(name) }
                self.result.warn(enable.line, "listener \(words[1]).\(words[2]) is off, and left out")
                continue
            }
            guard ["ssl", "tcp"].contains(words[1]) else {
                self.used.insert(key)
                self.result.warn(
                    setting.line,
                    "listener \(words[1]).\(words[2]) is not taken over: there is no such transport here"
                )
                continue
            }
            self.readListener(words[1], words[2])
        }
        if self.result.listeners.isEmpty {
            self.result.listeners = [self.result.listenerForNone()]
        }
    }

    private mutating func readListener(_ transport: String, _ name: String) {
        let prefix = "listener.\(transport).\(name)"
        var listener = ImportedConfiguration.Listener(transport: transport, name: name)
        listener.setAddress(self.value(prefix) ?? "8883")
        listener.certificateFile = self.value("\(prefix).certfile")
        listener.keyFile = self.value("\(prefix).keyfile")
        listener.clientCAFile = self.value("\(prefix).cacertfile")
        let verifies = self.value("\(prefix).verify") == "verify_peer"
        let needs = self.value("\(prefix).fail_if_no_peer_cert") == "true"
        listener.clientCertificate = listener.isTLS && verifies ? (needs ? "required" : "optional") : "none"
        for use in ImportedConfiguration.CertificateUse.allCases {
            guard let setting = self.take("\(prefix).\(use.rawValue)") else { continue }
            self.result.use(setting.value, as: use, of: &listener, line: setting.line)
        }
        self.result.add(listener, line: self.settings[prefix]?.line ?? 0)
    }

    /// Settings that say what clients may do, or what they are offered: each of them is somebody's decision.
    private static let namedPrefixes = ["auth.", "acl", "listener.", "zone.", "mqtt."]

    /// The last words of settings that are to be looked at again, and where they may be written by hand.
    private static let counterparts = [
        "max_packet_size": "mqtt.max_packet_size", "max_qos_allowed": "mqtt.max_qos",
        "retain_available": "mqtt.retain_available", "wildcard_subscription": "mqtt.wildcard_subscriptions",
        "shared_subscription": "mqtt.shared_subscriptions", "max_topic_alias": "mqtt.topic_alias_maximum",
        "server_keepalive": "mqtt.max_keep_alive", "max_inflight": "mqtt.session.max_inflight",
        "max_mqueue_len": "mqtt.session.max_queued_messages", "session_expiry_interval": "mqtt.session.max_expiry",
        "max_awaiting_rel": "mqtt.receive_maximum", "idle_timeout": "listeners.….connect_timeout",
        "acl_deny_action": "authorization.deny_action", "enable_ban": "bans_file",
    ]

    private mutating func nameTheRest() {
        var others = 0
        for key in self.order where !self.used.contains(key) {
            guard Self.namedPrefixes.contains(where: { key.hasPrefix($0) }) else {
                others += 1
                continue
            }
            let last = key.split(separator: ".").last.map(String.init) ?? key
            let isOffer = key.hasPrefix("zone.") || key.hasPrefix("mqtt.")
            let hint = isOffer ? Self.counterparts[last].map { "; see \($0)" } ?? "; there is no such key here" : ""
            self.result.warn(self.settings[key]?.line ?? 0, "\(key) is not taken over\(hint)")
        }
        if others > 0 {
            self.result.warn(0, "\(others) other settings (cluster, log, limits and so on) are not taken over")
        }
    }
}
