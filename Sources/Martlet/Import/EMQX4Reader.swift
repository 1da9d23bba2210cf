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
        reader.result.isForeign = !reader.order.contains { key in
            ["auth.", "listener.", "zone.", "mqtt.", "acl_", "allow_anonymous"].contains { key.hasPrefix($0) }
        }
        reader.readSource()
        reader.readDefaults()
        reader.readListeners()
        reader.readSettings()
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
        let database = self.take("auth.redis.database")
        source.database = self.result.database(database?.value, "auth.redis.database", line: database?.line ?? 0)
        source.password = self.value("auth.redis.password")
        let hash = self.readPasswordHash(&source)
        source.command = self.rowCommand(hash) ?? "HMGET mqtt_user:%u password"
        source.superCommand = self.command("auth.redis.super_cmd")
        source.accessCommand = self.command("auth.redis.acl_cmd")
        if source.accessCommand != nil { self.result.accessRows = "only" }
        self.readTLS(&source)
        self.result.check(&source, line: server?.line ?? 0)
        if let pool = self.take("auth.redis.pool") {
            self.result.warn(
                pool.line,
                "auth.redis.pool is left out: one connection takes all look-ups, see redis.pipeline_max"
            )
        }
        if let timeout = self.take("auth.redis.query_timeout") {
            self.result.readQueryTimeout(timeout.value, "auth.redis.query_timeout", line: timeout.line, into: &source)
        }
        self.result.sources = [source]
    }

    private mutating func readTLS(_ source: inout ImportedConfiguration.Source) {
        source.usesTLS = ["auth.redis.ssl", "auth.redis.ssl.enable"].contains { key in
            ["on", "true"].contains(self.value(key))
        }
        source.caFile = self.file("cacertfile", "cafile", usesTLS: source.usesTLS)
        source.certificateFile = self.file("certfile", "certfile", usesTLS: source.usesTLS)
        source.keyFile = self.file("keyfile", "keyfile", usesTLS: source.usesTLS)
        let serverName = self.value("auth.redis.ssl.server_name_indication")
        source.serverName = serverName == "disable" ? nil : serverName
        let verify = self.take("auth.redis.ssl.verify")
        guard source.usesTLS, verify?.value != "true", verify?.value != "verify_peer" else { return }
        self.result.warn(
            verify?.line ?? 0,
            "EMQX did not verify Redis' certificate; it is verified here: name its authority in tls.ca_file"
        )
    }

    /// - Parameter old: its name before EMQX 4.3.
    private mutating func file(_ name: String, _ old: String, usesTLS: Bool) -> String? {
        let keys = ["auth.redis.ssl.\(name)", "auth.redis.\(old)"]
        let given = keys.compactMap { key in self.take(key).map { (key: key, setting: $0) } }
        if !usesTLS {
            for (key, setting) in given {
                self.result.warn(
                    setting.line,
                    "\(key) is left out: auth.redis.ssl is not on, so Redis is reached without TLS; set both if that was not meant"
                )
            }
        }
        return given.first?.setting.value
    }

    /// Where nothing says how passwords are stored, it is said that they count as they are: a hash would be the password itself.
    ///
    /// - Returns: nil if it is not understood.
    private mutating func readPasswordHash(_ source: inout ImportedConfiguration.Source) -> PasswordHash? {
        let names = ["password_hash", "passwd.hash"]
        let given = names.compactMap { name in self.take("auth.redis.\(name)").map { (name: name, setting: $0) } }
        guard let (name, hash) = given.first else {
            source.passwordHash = ImportedConfiguration.quoted("plain")
            self.result.warn(
                0,
                "there is no auth.redis.password_hash: plain is written; if hashes are stored, name theirs, or whoever knows a hash gets in"
            )
            return .plain
        }
        for (other, setting) in given.dropFirst() where setting.value != hash.value {
            self.result.warn(setting.line, "auth.redis.\(other) is left out: auth.redis.\(name) says something else")
        }
        source.passwordHash = ImportedConfiguration.quoted(hash.value)
        do throws(ConfigurationMistake) {
            return try PasswordHash(text: hash.value)
        } catch {
            self.result.warn(hash.line, "\(name) \(error.reason); EMQX 4 takes it as plain: choose one")
            return nil
        }
    }

    private mutating func rowCommand(_ hash: PasswordHash?) -> String? {
        let key = "auth.redis.auth_cmd"
        guard let setting = self.take(key) else { return nil }
        let command = EMQX4Command(setting.value)
        let row = command.row(hash: hash)
        for text in command.differences { self.result.warn(setting.line, text) }
        for text in row.warnings { self.result.warn(setting.line, "\(key): \(text)") }
        return row.command
    }

    /// What EMQX 4 makes of a command in another way is named.
    private mutating func command(_ key: String) -> String? {
        guard let setting = self.take(key) else { return nil }
        let command = EMQX4Command(setting.value)
        for text in command.differences { self.result.warn(setting.line, text) }
        return command.written
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
        listener.zone = self.value("\(prefix).zone")
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
        self.readLimits(prefix, into: &listener)
        let keys =
            (listener.zone.map { ["zone.\($0).use_username_as_clientid"] } ?? []) + ["mqtt.use_username_as_clientid"]
        if let key = keys.first(where: { self.settings[$0] != nil }), let given = self.given(key) {
            self.used.insert(key)
            self.result.useUserName(given, of: &listener)
        }
        self.result.add(listener, line: self.settings[prefix]?.line ?? 0)
    }

    /// Limits of a listener, and what EMQX 5 has in `ssl_options`, by its names there.
    private static let limits = [
        "max_connections": ["max_connections"], "max_conn_rate": ["max_conn_rate"],
        "proxy_protocol": ["proxy_protocol"], "tls_versions": ["ssl_options", "versions"],
        "ciphers": ["ssl_options", "ciphers"], "depth": ["ssl_options", "depth"],
        "handshake_timeout": ["ssl_options", "handshake_timeout"],
        "reuse_sessions": ["ssl_options", "reuse_sessions"],
        "enable_crl_check": ["ssl_options", "enable_crl_check"],
    ]

    private mutating func readLimits(_ prefix: String, into listener: inout ImportedConfiguration.Listener) {
        for key in self.order where key.hasPrefix("\(prefix).") {
            let name = String(key.dropFirst(prefix.utf8.count + 1))
            guard let path = Self.limits[name], let setting = self.settings[key], !setting.value.isEmpty else {
                continue
            }
            var value = HOCONValue.object([])
            _ = value.set(path, .text(setting.value), line: setting.line)
            let member = HOCONValue.Member(key: prefix, line: setting.line, value: value)
            if !self.result.readLimits(of: member, into: &listener).isEmpty || HOCONValue.text(setting.value).isOff {
                self.used.insert(key)
            }
        }
    }

    /// Of `mqtt.NAME` or `zone.ZONE.NAME`, if it has a value.
    private func given(_ key: String) -> ImportedSetting.Given? {
        let words = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let setting = self.settings[key], !setting.value.isEmpty else { return nil }
        let isZone = words.count == 3 && words[0] == "zone"
        guard isZone || (words.count == 2 && words[0] == "mqtt") else { return nil }
        return ImportedSetting.Given(
            title: key,
            name: words[words.count - 1],
            zone: isZone ? words[1] : nil,
            line: setting.line,
            value: setting.value
        )
    }

    private mutating func readSettings() {
        let zones = Set(self.result.listeners.compactMap(\.zone))
        let names = Set(ImportedSetting.all.map(\.name))
        let given = self.order.compactMap { self.given($0) }
            .filter { names.contains($0.name) && ($0.zone.map(zones.contains) ?? true) }
        self.used.formUnion(given.map(\.title))
        self.result.take(given)
        // Where all listeners are in another file, nothing is known of zones.
        guard self.order.contains(where: { $0.hasPrefix("listener.") }) else { return }
        self.leaveOutZones(except: zones)
    }

    private mutating func leaveOutZones(except zones: Set<String>) {
        var named: Set<String> = []
        for key in self.order where !self.used.contains(key) {
            let words = key.split(separator: ".").map(String.init)
            guard words.count >= 3, words[0] == "zone", !zones.contains(words[1]) else { continue }
            self.used.insert(key)
            guard named.insert(words[1]).inserted else { continue }
            self.result.warn(
                self.settings[key]?.line ?? 0,
                "zone.\(words[1]) is left out: no listener that is taken over is in this zone"
            )
        }
    }

    /// What changes who gets in, or what a client may do, each with its line; the rest in one.
    private mutating func nameTheRest() {
        let sections = ["auth.", "acl", "listener.", "zone.", "mqtt.", "module.", "flapping_detect", "enable_acl"]
        var others: [String] = []
        for key in self.order where !self.used.contains(key) {
            let words = key.split(separator: ".").map(String.init)
            let isOfZone = ["zone", "mqtt"].contains(words.first)
            let isOfSpeed = isOfZone && words.contains { ImportedSetting.ofSpeed.contains($0) }
            guard sections.contains(where: { key.hasPrefix($0) }), !isOfSpeed else {
                others.append(isOfSpeed ? words.last ?? key : words.first ?? key)
                continue
            }
            self.result.warn(self.settings[key]?.line ?? 0, ImportedSetting.notTakenOver(key))
        }
        guard !others.isEmpty else { return }
        let names = Set(others).sorted()
        let shown = names.prefix(8).joined(separator: ", ") + (names.count > 8 ? ", …" : "")
        self.result.warn(
            0,
            others.count == 1
                ? "1 other setting (\(shown)) is not taken over"
                : "\(others.count) other settings (\(shown)) are not taken over"
        )
    }
}
