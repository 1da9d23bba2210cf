import Common

/// What was understood of another broker's configuration, and what was not.
struct ImportedConfiguration: Equatable {
    struct Warning: Equatable, CustomStringConvertible {
        /// 0: of the file as a whole.
        var line: Int
        var text: String
        /// What stands behind the file's name and a colon.
        var description: String { self.line == 0 ? " \(self.text)" : "\(self.line): \(self.text)" }
    }

    struct Listener: Equatable {
        var name: String
        var address = "[::]:8883"
        var isTLS = true
        var certificateFile: String?
        var keyFile: String?
        var clientCAFile: String?
        /// `required`, `optional` or `none`.
        var clientCertificate = "none"
        /// `client`, `cn` or `dn`.
        var userNameFrom = "client"
        var clientIDFromCommonName = false
        /// EMQX's, whose settings are for this listener.
        var zone: String?
        var settings: [ImportedSetting.Written] = []
        /// Of its `publish_rate` and its `tls` section.
        var publishRate: [ImportedSetting.Written] = []
        var tlsSettings: [ImportedSetting.Written] = []
    }

    struct Source: Equatable {
        var name = ""
        /// That it is for; empty: all.
        var listeners: [String] = []
        var command = ""
        /// As it is written in YAML.
        var passwordHash: String?
        var superCommand: String?
        var accessCommand: String?
        /// `single`, `sentinel` or `cluster`.
        var kind = "single"
        var servers: [String] = []
        var sentinelMaster: String?
        var user: String?
        var password: String?
        /// One that is there already, instead of the password.
        var passwordFile: String?
        var database = 0
        var queryTimeoutMilliseconds: Int?
        var usesTLS = false
        var caFile: String?
        var certificateFile: String?
        var keyFile: String?
        var serverName: String?
        var verifies = true
    }

    var listeners: [Listener] = []
    var sources: [Source] = []
    var noMatch: String?
    var denyAction: String?
    /// `only` (EMQX 4), `first`, or `last`.
    var accessRows = "first"
    /// Of the `mqtt` section.
    var settings: [ImportedSetting.Written] = []
    /// There is nothing in the file that the other broker's decide by.
    var isForeign = false
    private(set) var warnings: [Warning] = []

    /// Once, even if it concerns several listeners.
    mutating func warn(_ line: Int, _ text: String) {
        let warning = Warning(line: line, text: text)
        if !self.warnings.contains(warning) { self.warnings.append(warning) }
    }
}

extension ImportedConfiguration {
    /// Our configuration. Secrets are not in it: `passwordFiles` are the names that it gives their files.
    func yaml(passwordFiles: [String?]) -> String {
        var text =
            "# Made by `martlet import`; read the warnings that it gave, and docs/emqx-migration.md.\n\nlisteners:\n"
        for listener in self.listeners { text += Self.yaml(listener) }
        text += "\nauthentication:\n"
        if self.sources.isEmpty {
            // Nothing is made up that would let somebody in: `martlet config check` asks for a source.
            text += "  sources: []\n"
        } else if self.sources.count == 1, self.sources[0].listeners.isEmpty {
            text += Self.yaml(self.sources[0], passwordFile: passwordFiles.first ?? nil, indent: "  ")
        } else {
            text += "  sources:\n"
            for (index, source) in self.sources.enumerated() {
                let file = index < passwordFiles.count ? passwordFiles[index] : nil
                let listeners =
                    source.listeners.isEmpty ? "" : "      listeners: [\(source.listeners.joined(separator: ", "))]\n"
                text +=
                    "    - name: \(source.name)\n" + listeners + Self.yaml(source, passwordFile: file, indent: "      ")
            }
        }
        text += "\nauthorization:\n"
        if let noMatch = self.noMatch { text += "  no_match: \(Self.scalar(noMatch))\n" }
        if let denyAction = self.denyAction { text += "  deny_action: \(Self.scalar(denyAction))\n" }
        text += "  acl: \(self.accessRows)\n  rules:\n    default: []\n"
        return text + self.yamlOfSettings()
    }

    private static func yaml(_ listener: Listener) -> String {
        var text = "  - name: \(listener.name)\n    addresses: [\(Self.quoted(listener.address))]\n"
        if !listener.isTLS { text += "    transport: tcp\n" }
        if !listener.isTLS, !listener.isLocal { text += "    allow_insecure_network: true\n" }
        if listener.isTLS { text += "    client_certificate: \(listener.clientCertificate)\n" }
        if listener.userNameFrom != "client" { text += "    user_name_from: \(listener.userNameFrom)\n" }
        if listener.clientIDFromCommonName { text += "    client_id: from_cn\n" }
        for setting in listener.settings { text += "    \(setting.key): \(setting.value)\n" }
        guard listener.isTLS else { return text }
        text += "    tls:\n"
        let files = [
            ("certificate_file", listener.certificateFile ?? "server.crt"),
            ("key_file", listener.keyFile ?? "server.key"),
            ("client_ca_file", listener.clientCertificate == "none" ? nil : listener.clientCAFile ?? "client-ca.crt"),
        ]
        for case (let key, let file?) in files { text += "      \(key): \(Self.quoted(file))\n" }
        for setting in listener.tlsSettings { text += "      \(setting.key): \(setting.value)\n" }
        return text
    }

    private static func yaml(_ source: Source, passwordFile: String?, indent: String) -> String {
        var text = "\(indent)command: \(Self.quoted(source.command))\n"
        if let hash = source.passwordHash { text += "\(indent)password_hash: \(hash)\n" }
        if let command = source.superCommand { text += "\(indent)super_command: \(Self.quoted(command))\n" }
        if let command = source.accessCommand { text += "\(indent)acl_command: \(Self.quoted(command))\n" }
        text += "\(indent)redis:\n"
        let inner = indent + "  "
        let servers = "[\(source.servers.map(Self.quoted).joined(separator: ", "))]"
        switch source.kind {
        case "sentinel":
            text += "\(inner)sentinel: {servers: \(servers), master: \(Self.quoted(source.sentinelMaster ?? ""))}\n"
        case "cluster":
            text += "\(inner)cluster: {servers: \(servers)}\n"
        default:
            let user = source.user.map { "\(RedisURL.percentEncoded($0))@" } ?? ""
            let scheme = source.usesTLS ? "rediss" : "redis"
            let server = source.servers.first ?? "127.0.0.1:6379"
            text += "\(inner)url: \(Self.quoted("\(scheme)://\(user)\(server)/\(source.database)"))\n"
        }
        if source.kind != "single" {
            if let user = source.user { text += "\(inner)user: \(Self.quoted(user))\n" }
            if source.database != 0 { text += "\(inner)database: \(source.database)\n" }
        }
        if let passwordFile = source.passwordFile ?? passwordFile {
            text += "\(inner)password_file: \(Self.quoted(passwordFile))\n"
        }
        if let timeout = source.queryTimeoutMilliseconds { text += "\(inner)query_timeout: \(timeout)ms\n" }
        return text + Self.tls(source, inner)
    }

    private static func tls(_ source: Source, _ indent: String) -> String {
        guard source.usesTLS else { return "" }
        var parts: [String] = []
        let values = [
            ("ca_file", source.caFile), ("certificate_file", source.certificateFile), ("key_file", source.keyFile),
            ("server_name", source.serverName),
        ]
        for case (let key, let value?) in values { parts.append("\(key): \(Self.quoted(value))") }
        if !source.verifies { parts.append("verify: none") }
        if parts.isEmpty, source.kind != "single" { parts.append("enabled: true") }
        return parts.isEmpty ? "" : "\(indent)tls: {\(parts.joined(separator: ", "))}\n"
    }

    /// A YAML scalar in double quotes.
    static func quoted(_ text: String) -> String { JSONText.quoted(text) }

    /// A word as it is, anything else in double quotes.
    static func scalar(_ text: String) -> String {
        let isWord = text.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || Array("0123456789_".utf8).contains(byte)
        }
        return isWord && !text.isEmpty ? text : Self.quoted(text)
    }

    /// What `martlet config check` would say of it; what the source file has and Martlet cannot take is known here at the latest.
    static func mistakes(in yaml: String) -> [String] {
        do throws(ConfigurationError) {
            _ = try Configuration.parse(Array(yaml.utf8), file: "", baseDirectory: "/")
            return []
        } catch {
            return error.problems.map { $0.key.isEmpty ? $0.message : "\($0.key): \($0.message)" }
        }
    }
}
