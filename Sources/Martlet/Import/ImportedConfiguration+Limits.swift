import Common
import TLS

/// What a listener's limits and `ssl_options` say that there is a key for here.
extension ImportedConfiguration {
    /// - Parameter member: as EMQX 5 has it.
    /// - Returns: the names of what was taken over, or has a warning of its own; those in `ssl_options` with that in front.
    mutating func readLimits(
        of member: HOCONValue.Member,
        into listener: inout Listener
    ) -> Set<String> {
        var done: Set<String> = []
        for key in ["max_connections", "max_conn_rate", "messages_rate", "bytes_rate", "proxy_protocol"] {
            guard let given = member.value.member(key), let text = given.value.text else { continue }
            let isDone =
                switch key {
                case "max_connections": self.readConnections(text, given.line, &listener)
                case "proxy_protocol": self.readProxyProtocol(given.value, given.line, listener.name)
                default: self.readRate(key, text, given.line, &listener)
                }
            if isDone { done.insert(key) }
        }
        if !listener.publishRate.isEmpty {
            let parts = listener.publishRate.map { "\($0.key): \($0.value)" }
            listener.settings.append(
                ImportedSetting.Written(key: "publish_rate", value: "{\(parts.joined(separator: ", "))}")
            )
        }
        guard listener.isTLS, let options = member.value["ssl_options"] else { return done }
        if options["enable_crl_check"]?.isOn == true {
            self.warn(member.line, "revocation lists: set crl_directory, and let a timer run martlet crl refresh")
            done.insert("ssl_options.enable_crl_check")
        }
        for option in options.members where self.readOption(option, into: &listener) {
            done.insert("ssl_options.\(option.key)")
        }
        return done
    }

    private mutating func readConnections(
        _ text: String,
        _ line: Int,
        _ listener: inout Listener
    ) -> Bool {
        if text == "infinity" {
            let fallback = Configuration.Listener(name: "").maxConnections
            self.warn(
                line,
                "max_connections of \(listener.name) was infinity; it is \(fallback) here unless you write more"
            )
            return true
        }
        guard let count = Int(text), (1...10_000_000).contains(count) else { return false }
        listener.settings.append(ImportedSetting.Written(key: "max_connections", value: "\(count)"))
        return true
    }

    private mutating func readProxyProtocol(_ value: HOCONValue, _ line: Int, _ name: String) -> Bool {
        guard value.isOn else { return true }
        self.warn(
            line,
            "proxy_protocol of \(name): name the load balancers' addresses in proxy_protocol.trusted; without it their connections "
                + "are refused"
        )
        return true
    }

    /// `1000/s`, `100/10s`, `1MB/s`; `infinity`: there is no limit here either.
    private mutating func readRate(
        _ key: String,
        _ text: String,
        _ line: Int,
        _ listener: inout Listener
    ) -> Bool {
        if text == "infinity" { return true }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map {
            ImportedText.trimmed(String($0))
        }
        let span = parts.count > 1 ? parts[1] : "s"
        guard parts.count <= 2, let amount = ImportedSetting.bytes(parts[0]), amount > 0,
            let rate = Self.perSecond(amount, span), rate <= Self.rateMax(key)
        else { return false }
        // None would be no limit.
        guard rate >= 1 else {
            self.warn(
                line,
                "\(key) = \(text) of \(listener.name) is not taken over: the lowest limit here is 1 per second"
            )
            return true
        }
        self.write(key, Int(rate), into: &listener)
        if rate.rounded(.down) < 0.95 * rate {
            self.warn(
                line,
                "\(key) = \(text) of \(listener.name) becomes \(Int(rate)) per second: limits are whole numbers here"
            )
        }
        return true
    }

    /// - Parameter span: `s`, `10s`, `500ms`; a number alone counts seconds.
    private static func perSecond(_ amount: Int, _ span: String) -> Double? {
        let isNumber = span.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let whole = isNumber ? "\(span)s" : span.first?.isNumber == true ? span : "1\(span)"
        guard let milliseconds = ImportedSetting.milliseconds(whole), milliseconds > 0 else { return nil }
        return Double(amount) * 1000 / Double(milliseconds)
    }

    private static func rateMax(_ key: String) -> Double {
        switch key {
        case "max_conn_rate": 1_000_000
        case "messages_rate": 1_000_000_000
        default: Double(Configuration.bytesMax)
        }
    }

    private func write(_ key: String, _ rate: Int, into listener: inout Listener) {
        switch key {
        case "max_conn_rate":
            listener.settings.append(ImportedSetting.Written(key: "max_connection_rate", value: "\(rate)"))
        case "messages_rate":
            listener.publishRate.append(ImportedSetting.Written(key: "messages_per_second", value: "\(rate)"))
        default:
            let size = SizeText.describe(bytes: rate)
            listener.publishRate.append(ImportedSetting.Written(key: "bytes_per_second", value: size))
        }
    }

    // MARK: TLS

    private mutating func readOption(
        _ option: HOCONValue.Member,
        into listener: inout Listener
    ) -> Bool {
        switch option.key {
        case "versions": return self.readVersions(option, into: &listener)
        case "ciphers": return self.readCiphers(option, into: &listener)
        case "depth":
            guard let depth = option.value.text.flatMap({ Int($0) }), (0...100).contains(depth) else { return false }
            listener.tlsSettings.append(ImportedSetting.Written(key: "verify_depth", value: "\(depth)"))
        case "handshake_timeout":
            guard let milliseconds = option.value.text.flatMap({ ImportedSetting.milliseconds($0) }),
                (10...3_600_000).contains(milliseconds)
            else { return false }
            listener.settings.append(ImportedSetting.Written(key: "handshake_timeout", value: "\(milliseconds)ms"))
        case "reuse_sessions":
            guard option.value.isOff else { return true }
            listener.tlsSettings.append(ImportedSetting.Written(key: "session_tickets", value: "false"))
        default: return false
        }
        return true
    }

    private static func words(_ value: HOCONValue, separators: String) -> [String] {
        value.elements.compactMap(\.text).flatMap { text in
            text.split { separators.contains($0) }.map { ImportedText.trimmed(String($0)) }
        }.filter { !$0.isEmpty }
    }

    private mutating func readVersions(
        _ option: HOCONValue.Member,
        into listener: inout Listener
    ) -> Bool {
        let known = ["tlsv1.2": "1.2", "tlsv1.3": "1.3"]
        let words = Self.words(option.value, separators: ",")
        let versions = words.compactMap { known[$0] }
        if words.contains(where: { ["tlsv1", "tlsv1.1"].contains($0) }) {
            self.warn(
                option.line,
                "TLS 1.0 and 1.1 are not offered here: clients of \(listener.name) need 1.2 or 1.3"
            )
        }
        guard let lowest = versions.min(), let highest = versions.max() else { return false }
        if lowest != "1.2" {
            listener.tlsSettings.append(ImportedSetting.Written(key: "min_version", value: "\"\(lowest)\""))
        }
        if highest != "1.3" {
            listener.tlsSettings.append(ImportedSetting.Written(key: "max_version", value: "\"\(highest)\""))
        }
        return true
    }

    /// EMQX has those of TLS 1.2 and of 1.3 in one list.
    private mutating func readCiphers(
        _ option: HOCONValue.Member,
        into listener: inout Listener
    ) -> Bool {
        let words = Self.words(option.value, separators: ",:; ")
        let unknown = CipherNames.unknown(among: words)
        let suites = words.filter { $0.hasPrefix(CipherNames.suitePrefix) && !unknown.contains($0) }
        let ciphers = words.filter { !$0.hasPrefix(CipherNames.suitePrefix) && !unknown.contains($0) }
        for word in words where unknown.contains(word) {
            self.warn(
                option.line,
                "cipher \(word) of \(listener.name) is not taken over: OpenSSL has none of this name; `openssl ciphers` lists them"
            )
        }
        if !suites.isEmpty {
            listener.tlsSettings.append(
                ImportedSetting.Written(
                    key: "cipher_suites",
                    value: Self.quoted(suites.joined(separator: ":"))
                )
            )
        }
        if !ciphers.isEmpty {
            listener.tlsSettings.append(
                ImportedSetting.Written(
                    key: "ciphers",
                    value: Self.quoted(ciphers.joined(separator: ":"))
                )
            )
        }
        return true
    }
}
