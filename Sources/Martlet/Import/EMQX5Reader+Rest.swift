import Common

/// What zones and the `mqtt` section say, and what is not taken over.
extension EMQX5Reader {
    // MARK: Zones

    /// What a listener's zone says, or the `mqtt` section.
    private func given(_ name: String, zone: String?) -> ImportedSetting.Given? {
        let sections: [(path: [String], zone: String?)] =
            (zone.map { [(["zones", $0, "mqtt"], $0)] } ?? []) + [(["mqtt"], nil)]
        for (path, zone) in sections {
            guard let member = self.root.value(at: path)?.member(name), let text = member.value.text else { continue }
            return ImportedSetting.Given(
                title: (path + [name]).joined(separator: "."),
                name: name,
                zone: zone,
                line: member.line,
                value: text
            )
        }
        return nil
    }

    mutating func readCertificateUses(_ listener: inout ImportedConfiguration.Listener) {
        for use in ImportedConfiguration.CertificateUse.allCases {
            guard let given = self.given(use.rawValue, zone: listener.zone) else { continue }
            self.result.use(given.value, as: use, of: &listener, line: given.line)
        }
    }

    mutating func readSettings() {
        for index in self.result.listeners.indices {
            guard let given = self.given("use_username_as_clientid", zone: self.result.listeners[index].zone) else {
                continue
            }
            var listener = self.result.listeners[index]
            self.result.useUserName(given, of: &listener)
            self.result.listeners[index] = listener
        }
        let zones = Set(self.result.listeners.compactMap(\.zone)).sorted()
        let given = ImportedSetting.all.flatMap { setting in
            let own = [self.given(setting.name, zone: nil)] + zones.map { self.given(setting.name, zone: $0) }
            return own.enumerated().compactMap { $0.offset == 0 || $0.element?.zone != nil ? $0.element : nil }
        }
        self.result.take(given)
        for zone in self.root["zones"]?.members ?? [] {
            guard zones.contains(zone.key) else {
                self.result.warn(
                    zone.line,
                    "zones.\(zone.key) is left out: no listener that is taken over is in this zone"
                )
                continue
            }
            for section in zone.value.members where section.key != "mqtt" {
                self.nameSetting("zones.\(zone.key).\(section.key)", section)
            }
            self.nameSettings(zone.value["mqtt"], "zones.\(zone.key).mqtt")
        }
        self.nameSettings(self.root["mqtt"], "mqtt")
    }

    private mutating func nameSettings(_ section: HOCONValue?, _ title: String) {
        let known = Set(ImportedSetting.all.map(\.name) + ["use_username_as_clientid"])
        for member in section?.members ?? [] {
            let isUse = ImportedConfiguration.CertificateUse(rawValue: member.key) != nil
            guard !isUse, !known.contains(member.key) else { continue }
            self.nameSetting("\(title).\(member.key)", member)
        }
    }

    private mutating func nameSetting(_ title: String, _ member: HOCONValue.Member) {
        self.result.warn(member.line, ImportedSetting.notTakenOver(title))
    }

    // MARK: Sources

    /// - Parameter element: an authenticator, or a source of authorization.
    mutating func nameTheRest(of element: HOCONValue, _ source: ImportedConfiguration.Source) {
        let known: Set = [
            "mechanism", "backend", "type", "enable", "cmd", "password_hash_algorithm", "redis_type", "server",
            "servers",
            "sentinel", "username", "password", "database", "sentinel_username", "sentinel_password", "ssl",
            "precondition", "compatibility_mode", "query_timeout",
        ]
        let reasons = [
            "pool_size": "one connection takes all look-ups; see redis.pipeline_max",
            "auto_reconnect": "a connection that is lost is made again here",
        ]
        for member in element.members where !known.contains(member.key) {
            let reason = reasons[member.key].map { ": \($0)" } ?? ""
            self.result.warn(member.line, "\(member.key) of \(source.name) is not taken over\(reason)")
        }
        if let command = element.member("cmd"), let text = command.value.text, text.contains("clientid_override") {
            self.result.warn(
                command.line,
                "clientid_override has no counterpart: the field is asked for and not looked at; client ids are what CONNECT says, "
                    + "or the common name with client_id: from_cn"
            )
        }
        let connection = element.members.filter { ["server", "servers", "sentinel", "username"].contains($0.key) }
        self.nameSubstitutions(in: connection, source.name)
        self.nameTheRest(ofTLS: element, source.name)
        let hash = element["password_hash_algorithm"]?.members ?? []
        let parameters: Set = ["name", "salt_position", "salt_rounds", "mac_fun", "iterations", "dk_length"]
        for member in hash where !parameters.contains(member.key) {
            self.result.warn(
                member.line,
                "password_hash_algorithm.\(member.key) of \(source.name) is not taken over"
            )
        }
    }

    private mutating func nameTheRest(ofTLS element: HOCONValue, _ name: String) {
        guard element["ssl", "enable"]?.isOn == true else { return }
        let known: Set = ["enable", "cacertfile", "certfile", "keyfile", "verify", "server_name_indication"]
        let reasons = [
            "versions": "TLS 1.2 and 1.3 are offered", "depth": "OpenSSL's own limit applies",
            "password": "the key's password goes into a file, tls.key_password_file",
        ]
        let members = element["ssl"]?.members ?? []
        for member in members where !known.contains(member.key) {
            let reason = reasons[member.key].map { ": \($0)" } ?? ""
            self.result.warn(member.line, "ssl.\(member.key) of \(name) is not taken over\(reason)")
        }
        self.nameSubstitutions(in: members.filter { known.contains($0.key) }, "ssl of \(name)")
    }

    /// `${…}` within quotes, which HOCON leaves alone and EMQX fills in itself.
    private mutating func nameSubstitutions(in members: [HOCONValue.Member], _ name: String) {
        for member in members where member.key != "password" {
            for text in member.value.elements.compactMap(\.text) {
                guard let start = text.firstRange(of: "${"), let end = text[start.upperBound...].firstIndex(of: "}")
                else {
                    continue
                }
                self.result.warn(
                    member.line,
                    "\(text[start.lowerBound...end]) in \(member.key), \(name), is not known here: write what it stands for"
                )
            }
        }
    }

    // MARK: Listeners

    /// What is not taken over of a listener; first what lets somebody in, or sends messages elsewhere.
    ///
    /// - Parameter done: what is taken over, those of `ssl_options` with that in front.
    mutating func nameTheRest(of member: HOCONValue.Member, _ name: String, _ done: Set<String>) {
        if let rules = member.value.member("access_rules") {
            self.result.warn(
                rules.line,
                "access_rules of \(name) are not taken over: addresses that were kept out are let in; see martlet ban add address"
            )
        }
        if let mountpoint = member.value.member("mountpoint"), mountpoint.value.text?.isEmpty == false {
            self.result.warn(
                mountpoint.line,
                "mountpoint of \(name) is not taken over: topics are what clients write, without anything in front"
            )
        }
        let known: Set = [
            "bind", "enable", "enabled", "ssl_options", "authentication", "enable_authn", "access_rules", "mountpoint",
            "zone",
        ]
        let options: Set = [
            "certfile", "keyfile", "cacertfile", "verify", "fail_if_no_peer_cert", "enable_crl_check", "password",
        ]
        let members = member.value.value(at: ["ssl_options"])?.members ?? []
        if let password = members.first(where: { $0.key == "password" }), password.value.text?.isEmpty == false {
            self.result.warn(password.line, "the password of \(name)'s key goes into a file: tls.key_password_file")
        }
        self.nameSubstitutions(in: members, "ssl_options of \(name)")
        self.nameSubstitutions(in: member.value.members.filter { $0.key == "bind" }, name)
        let names =
            (member.value.members.map(\.key).filter { !known.contains($0) })
            + (members.map(\.key).filter { !options.contains($0) }.map { "ssl_options.\($0)" })
        let others = names.filter { !done.contains($0) }
        if !others.isEmpty {
            self.result.warn(member.line, "of \(name) not taken over: \(others.joined(separator: ", "))")
        }
    }

    // MARK: Sections

    mutating func nameTheRest() {
        let known = ["authentication", "authorization", "listeners", "authentication_settings", "mqtt", "zones"]
        for member in self.root.members where !known.contains(member.key) && !self.named.contains(member.key) {
            self.result.warn(member.line, "not taken over: \(member.key)")
        }
        let sections = [
            ("authorization", ["no_match", "deny_action", "sources"]),
            ("authentication_settings", ["ignore_backend_failures"]),
        ]
        for (section, taken) in sections {
            for member in self.root[section]?.members ?? [] where !taken.contains(member.key) {
                self.result.warn(member.line, "\(section).\(member.key) is not taken over")
            }
        }
    }
}
