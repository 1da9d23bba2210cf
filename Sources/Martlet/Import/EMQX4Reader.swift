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
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = line.drop { $0 == " " || $0 == "\t" }
            guard !content.isEmpty, content.first != "#" else { continue }
            guard let equals = content.firstIndex(of: "=") else {
                if content.contains(where: { !$0.isWhitespace }) {
                    self.result.warn(index + 1, "this line is not understood")
                }
                continue
            }
            let key = String(content[..<equals].filter { !$0.isWhitespace })
            var value = content[content.index(after: equals)...].drop { $0.isWhitespace }
            while value.last?.isWhitespace == true { value.removeLast() }
            if value.count >= 2, value.first == "\"", value.last == "\"" { value = value.dropFirst().dropLast() }
            if self.settings[key] == nil { self.order.append(key) }
            self.settings[key] = Setting(line: index + 1, value: String(value))
        }
    }

    private mutating func take(_ key: String) -> Setting? {
        self.used.insert(key)
        return self.settings[key]
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
        let servers = self.value("auth.redis.server") ?? "127.0.0.1:6379"
        source.servers = servers.split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
        source.sentinelMaster = self.value("auth.redis.sentinel")
        source.database = self.value("auth.redis.database").flatMap { Int($0) } ?? 0
        if let password = self.value("auth.redis.password"), !password.isEmpty { source.password = password }
        source.command = self.value("auth.redis.auth_cmd") ?? "HMGET mqtt_user:%u password"
        self.checkTemplate("auth.redis.auth_cmd", source.command)
        source.superCommand = self.value("auth.redis.super_cmd")
        source.accessCommand = self.value("auth.redis.acl_cmd")
        if source.accessCommand != nil { self.result.accessRows = "only" }
        if let hash = self.take("auth.redis.password_hash") {
            source.passwordHash = hash.value
            do throws(ConfigurationMistake) {
                _ = try PasswordHash(text: hash.value)
            } catch {
                self.result.warn(hash.line, "password_hash \(error.reason); EMQX 4 takes it as plain: choose one")
            }
        }
        self.readTLS(&source)
        for key in ["auth.redis.pool", "auth.redis.query_timeout"] { _ = self.take(key) }
        self.result.sources = [source]
    }

    private mutating func readTLS(_ source: inout ImportedConfiguration.Source) {
        source.usesTLS = self.value("auth.redis.ssl") == "on" || self.value("auth.redis.ssl.enable") == "true"
        source.caFile = self.value("auth.redis.ssl.cacertfile") ?? self.value("auth.redis.cafile")
        source.certificateFile = self.value("auth.redis.ssl.certfile") ?? self.value("auth.redis.certfile")
        source.keyFile = self.value("auth.redis.ssl.keyfile") ?? self.value("auth.redis.keyfile")
        source.serverName = self.value("auth.redis.ssl.server_name_indication")
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
            self.result.warn(0, "no listener is named; one for TLS on port 8883 is written")
            var listener = ImportedConfiguration.Listener(name: "devices")
            listener.clientCertificate = "required"
            self.result.listeners = [listener]
        }
    }

    private mutating func readListener(_ transport: String, _ name: String) {
        let prefix = "listener.\(transport).\(name)"
        var listener = ImportedConfiguration.Listener(name: Self.listenerName(transport, name))
        listener.isTLS = transport == "ssl"
        let address = self.value(prefix) ?? "8883"
        listener.address = Self.address(address)
        listener.certificateFile = self.value("\(prefix).certfile")
        listener.keyFile = self.value("\(prefix).keyfile")
        listener.clientCAFile = self.value("\(prefix).cacertfile")
        let verifies = self.value("\(prefix).verify") == "verify_peer"
        let needs = self.value("\(prefix).fail_if_no_peer_cert") == "true"
        listener.clientCertificate = verifies ? (needs ? "required" : "optional") : "none"
        if let setting = self.take("\(prefix).peer_cert_as_username") {
            switch setting.value {
            case "cn", "dn": listener.userNameFrom = setting.value
            case "disabled", "": break
            default:
                self.result.warn(setting.line, "peer_cert_as_username = \(setting.value) is not supported: cn or dn")
            }
        }
        if let setting = self.take("\(prefix).peer_cert_as_clientid"), setting.value == "cn" {
            listener.clientIDFromCommonName = true
        }
        if !listener.isTLS {
            self.result.warn(
                self.settings[prefix]?.line ?? 0,
                "\(listener.name) is open to the network without encryption; is that meant?"
            )
        }
        self.result.listeners.append(listener)
    }

    static func listenerName(_ transport: String, _ name: String) -> String {
        let plain = name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") ? $0 : "-" }
        return "\(transport)-\(String(plain))"
    }

    /// `8883`, `0.0.0.0:8883` or `[::]:8883`.
    static func address(_ text: String) -> String { text.contains(":") ? text : "[::]:\(text)" }

    private mutating func nameTheRest() {
        for key in self.order where !self.used.contains(key) {
            guard key.hasPrefix("auth.") || key.hasPrefix("acl") || key.hasPrefix("listener.") else { continue }
            self.result.warn(self.settings[key]?.line ?? 0, "\(key) is not taken over")
        }
        let others = self.order.count { key in
            !self.used.contains(key) && !["auth.", "acl", "listener."].contains { key.hasPrefix($0) }
        }
        if others > 0 {
            self.result.warn(0, "\(others) other settings (cluster, log, limits and so on) are not taken over")
        }
    }
}
