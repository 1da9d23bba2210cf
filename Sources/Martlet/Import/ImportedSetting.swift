import Common

/// A setting of EMQX's `mqtt` section and zones that Martlet has a key for.
struct ImportedSetting {
    enum Form {
        case flag
        case number(ClosedRange<Int>)
        case bytes(ClosedRange<Int>)
        case seconds(ClosedRange<Int>)
    }

    /// As one of EMQX's files has it.
    struct Given: Equatable {
        /// With the sections that it is in, for messages.
        var title: String
        var name: String
        /// nil: for all zones that do not say otherwise.
        var zone: String?
        var line: Int
        var value: String
    }

    /// As Martlet's file has it.
    struct Written: Equatable {
        /// Below `mqtt`, or of a listener.
        var key: String
        var value: String
    }

    /// EMQX's name.
    let name: String
    /// Martlet's key below `mqtt`.
    let key: String
    let form: Form
    /// Listeners may have the key, too.
    var isOfListeners = false
    /// What is different all the same.
    var difference: String?

    static let all = [
        Self(name: "max_qos_allowed", key: "max_qos", form: .number(0...2), isOfListeners: true),
        Self(name: "retain_available", key: "retain_available", form: .flag, isOfListeners: true),
        Self(name: "wildcard_subscription", key: "wildcard_subscriptions", form: .flag, isOfListeners: true),
        Self(name: "shared_subscription", key: "shared_subscriptions", form: .flag, isOfListeners: true),
        Self(name: "max_topic_alias", key: "topic_alias_maximum", form: .number(0...65_535), isOfListeners: true),
        Self(
            name: "server_keepalive",
            key: "max_keep_alive",
            form: .seconds(1...65_535),
            isOfListeners: true,
            difference: "clients may choose a shorter one"
        ),
        Self(name: "max_packet_size", key: "max_packet_size", form: .bytes(256...268_435_456)),
        Self(name: "max_clientid_len", key: "max_client_id_length", form: .number(23...65_535)),
        Self(name: "max_topic_levels", key: "max_topic_levels", form: .number(1...65_536)),
        Self(
            name: "session_expiry_interval",
            key: "session.version3_expiry",
            form: .seconds(0...Int(UInt32.max - 1))
        ),
        Self(name: "max_subscriptions", key: "session.max_subscriptions", form: .number(1...10_000_000)),
        Self(name: "max_inflight", key: "session.max_inflight", form: .number(1...65_535)),
        Self(name: "max_mqueue_len", key: "session.max_queued_messages", form: .number(1...1_000_000_000)),
    ]

    /// In Martlet's form; nil if it is none that the key may have.
    func written(_ value: String) -> Written? {
        let text: String?
        switch self.form {
        case .flag: text = Self.flag(value).map { "\($0)" }
        case .number(let range): text = Int(value).flatMap { range.contains($0) ? "\($0)" : nil }
        case .bytes(let range):
            text = Self.bytes(value).flatMap { range.contains($0) ? SizeText.describe(bytes: $0) : nil }
        case .seconds(let range):
            // Clients choose: the longest that MQTT can say.
            let seconds = value == "disabled" ? range.upperBound : Self.seconds(value)
            text = seconds.flatMap { range.contains($0) ? "\($0)s" : nil }
        }
        return text.map { Written(key: self.key, value: $0) }
    }

    /// What the key may be.
    var possible: String {
        switch self.form {
        case .flag: "true or false"
        case .number(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .bytes(let range): "\(range.lowerBound) to \(range.upperBound) bytes"
        case .seconds(let range):
            "\(range.lowerBound) to \(range.upperBound) whole seconds, in forms such as 90, 90s, 2h and 1h30m"
        }
    }

    static func flag(_ value: String) -> Bool? {
        switch value {
        case "true", "on": true
        case "false", "off": false
        default: nil
        }
    }

    /// `1MB` is 1 MiB; a number alone counts bytes.
    static func bytes(_ value: String) -> Int? {
        let parts = Self.parts(value)
        let units = ["": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30]
        guard parts.count == 1, let unit = units[parts[0].unit] else { return nil }
        return Self.sum([(parts[0].number, unit)])
    }

    /// `2h`, `1h30m`; a number alone counts seconds.
    static func seconds(_ value: String) -> Int? {
        Self.duration(value, units: ["": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800])
    }

    /// The same where a number alone counts milliseconds.
    static func milliseconds(_ value: String) -> Int? {
        Self.duration(
            value,
            units: ["": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000]
        )
    }

    private static func duration(_ value: String, units: [String: Int]) -> Int? {
        let parts = Self.parts(value)
        let known = parts.compactMap { part in units[part.unit].map { (part.number, $0) } }
        guard !parts.isEmpty, known.count == parts.count else { return nil }
        return Self.sum(known)
    }

    private static func sum(_ products: [(number: Int, unit: Int)]) -> Int? {
        var sum = 0
        for (number, unit) in products {
            let (product, isTooLarge) = number.multipliedReportingOverflow(by: unit)
            let (next, overflow) = sum.addingReportingOverflow(product)
            guard !isTooLarge, !overflow else { return nil }
            sum = next
        }
        return sum
    }

    /// Numbers with what is behind each, in lower case; none where it does not begin with a number or one is too large.
    private static func parts(_ value: String) -> [(number: Int, unit: String)] {
        var parts: [(number: Int, unit: String)] = []
        var rest = Array(value.utf8)[...]
        func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        while !rest.isEmpty {
            let digits = rest.prefix(while: isDigit)
            guard let number = Int(String(decoding: digits, as: UTF8.self)) else { return [] }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !isDigit($0) }
            rest = rest.dropFirst(unit.count)
            parts.append((number, ImportedText.trimmed(String(decoding: unit, as: UTF8.self)).lowercased()))
        }
        return parts
    }
}

/// What is not taken over.
extension ImportedSetting {
    /// Such settings change neither who gets in nor what a client may do.
    static let ofSpeed: Set = [
        "force_gc_policy", "force_shutdown_policy", "keepalive_backoff", "keepalive_multiplier",
        "retry_interval", "await_rel_timeout", "enable_stats", "conn_congestion",
    ]

    private static let reasons = [
        "access": "addresses that were kept out are let in; see martlet ban add address",
        "proxy_protocol": "see proxy_protocol.trusted of listeners",
        "idle_timeout": "see connect_timeout of listeners",
        "crl_cache_urls":
            "write them into tls.crl_urls, set crl_directory, and let a timer run martlet crl refresh",
        "key_password": "the key's password goes into a file, tls.key_password_file",
        "mountpoint": "topics are what clients write, without anything in front",
        "bypass_auth_plugins": "every client is asked about here, unless its listener has anonymous: true",
        "allow_anonymous": "every client is asked about here, unless its listener has anonymous: true",
        "enable_acl": "rules are for all listeners here; each names its set in rules",
        "acl_deny_action": "authorization.deny_action is one for all listeners here",
        "acl_nomatch": "authorization.no_match is one for all listeners here",
        "enable_ban": "bans are for all listeners here; see martlet ban",
        "max_awaiting_rel": "receive_maximum counts QoS 1 and 2 together",
        "exclusive_subscription": "there is no $exclusive here",
        "ignore_loop_deliver": "clients of MQTT 5 may ask for No Local themselves",
        "clientid_override": "client ids are what CONNECT says, or the common name with client_id: from_cn",
        "client_attrs_init": "there are no ${client_attrs.…} here",
    ]

    /// - Parameter title: with its sections; the last part decides, apart from a number (`access.1`).
    static func notTakenOver(_ title: String) -> String {
        let name = title.split(separator: ".").last { Int($0) == nil }.map(String.init) ?? title
        let key = Self.all.first { $0.name == name }.map { "see mqtt.\($0.key)" }
        return "\(title) is not taken over" + ((key ?? Self.reasons[name]).map { ": \($0)" } ?? "")
    }
}

extension ImportedConfiguration {
    /// Writes what Martlet has a key for, and names the values that it cannot have.
    ///
    /// - Parameter given: each name at most once for each zone. What no listener's zone says otherwise is for all of them.
    mutating func take(_ given: [ImportedSetting.Given]) {
        for setting in ImportedSetting.all {
            let own = given.filter { $0.name == setting.name }
            guard !own.isEmpty else { continue }
            let common = own.first { $0.zone == nil }
            let ofZones = self.listeners.map { listener in
                own.first { $0.zone != nil && $0.zone == listener.zone }
            }
            if setting.isOfListeners {
                self.write(setting, common)
                for (index, given) in ofZones.enumerated() {
                    if let written = given.flatMap({ self.written(setting, $0) }) {
                        self.listeners[index].settings.append(written)
                    }
                }
                continue
            }
            let values = ofZones.map { $0 ?? common }
            let written = values.map { $0.flatMap { setting.written($0.value) } }
            if written.allSatisfy({ $0 == written.first }) {
                // The others are named, or no more than the first one says.
                let given = values.compactMap { $0 }.compactMap { self.written(setting, $0) }
                self.settings += given.prefix(1)
                continue
            }
            self.write(setting, common)
            for case let given? in ofZones {
                self.warn(
                    given.line,
                    "\(given.title) is not taken over: mqtt.\(setting.key) is one for all listeners here"
                )
            }
        }
    }

    private mutating func write(_ setting: ImportedSetting, _ given: ImportedSetting.Given?) {
        guard let written = given.flatMap({ self.written(setting, $0) }) else { return }
        self.settings.append(written)
    }

    private mutating func written(
        _ setting: ImportedSetting,
        _ given: ImportedSetting.Given
    ) -> ImportedSetting.Written? {
        guard let written = setting.written(given.value) else {
            self.warn(
                given.line,
                "\(given.title) = \(given.value) is not taken over: mqtt.\(setting.key) is \(setting.possible)"
            )
            return nil
        }
        if let difference = setting.difference, given.value != "disabled" {
            self.warn(given.line, "\(given.title) becomes \(setting.key): \(difference)")
        }
        return written
    }

    /// `use_username_as_clientid`, which Martlet has only for user names that are common names.
    mutating func useUserName(_ given: ImportedSetting.Given, of listener: inout Listener) {
        guard ImportedSetting.flag(given.value) == true, !listener.clientIDFromCommonName else { return }
        if listener.userNameFrom == "cn", listener.clientCertificate == "required" {
            listener.clientIDFromCommonName = true
        } else {
            self.warn(
                given.line,
                "\(given.title) is not taken over for \(listener.name): client ids are what CONNECT says, "
                    + "or the common name with client_id: from_cn"
            )
        }
    }

    /// The `mqtt` section; empty if there is nothing to say.
    func yamlOfSettings() -> String {
        guard !self.settings.isEmpty else { return "" }
        let prefix = "session."
        var session = self.settings.filter { $0.key.hasPrefix(prefix) }
        let expiry = session.first { $0.key == "session.version3_expiry" }.flatMap { Int($0.value.dropLast()) }
        // Longer than the longest is refused.
        if let expiry, expiry > Int(Configuration.MQTT.Session().maxExpirySeconds) {
            session.append(ImportedSetting.Written(key: "session.max_expiry", value: "\(expiry)s"))
        }
        var text = "\nmqtt:\n"
        for setting in self.settings where !setting.key.hasPrefix(prefix) {
            text += "  \(setting.key): \(setting.value)\n"
        }
        if !session.isEmpty { text += "  session:\n" }
        for setting in session { text += "    \(setting.key.dropFirst(prefix.count)): \(setting.value)\n" }
        return text
    }
}
