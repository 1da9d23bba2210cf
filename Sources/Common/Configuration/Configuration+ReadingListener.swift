extension Configuration.Listener {
    private static let second = Configuration.nanosecondsPerSecond
    private static let addressesMax = 64

    /// - Parameter offer: what the `mqtt` section says, for the keys that this listener leaves out.
    init(reading section: inout ConfigurationSection, offer: Configuration.Offer) {
        self.init(name: "")
        self.offer = offer
        self.readName(&section)
        self.readAddresses(&section)
        section.choice("transport", into: &self.transport)
        section.flag("allow_insecure_network", into: &self.allowInsecureNetwork)
        section.flag("anonymous", into: &self.anonymous)
        section.text("rules", into: &self.rules)
        if self.transport == .tcp { self.clientCertificate = .none }
        section.choice("client_certificate", into: &self.clientCertificate)
        section.choice("user_name_from", into: &self.userNameFrom)
        section.choice("client_id", into: &self.clientID)
        let timeouts = 10 * Configuration.nanosecondsPerMillisecond...3600 * Self.second
        section.duration("handshake_timeout", timeouts, into: &self.handshakeTimeoutNanoseconds)
        section.duration("connect_timeout", timeouts, into: &self.connectTimeoutNanoseconds)
        section.integer("max_connections", 1...10_000_000, into: &self.maxConnections)
        section.integer("max_connection_rate", 0...1_000_000, into: &self.maxConnectionRate)
        let hasProxyProtocol = section.contains("proxy_protocol")
        section.section("proxy_protocol") { section in
            self.readProxyProtocol(&section)
            if hasProxyProtocol, !section.contains("trusted") {
                section.report("trusted", "is missing; name the load balancers, or remove proxy_protocol")
            }
        }
        section.choice("certificate_expired", into: &self.certificateExpired)
        section.duration(
            "certificate_expiry_grace",
            0...365 * 86_400 * Self.second,
            into: &self.certificateExpiryGraceNanoseconds
        )
        self.offer.read(&section)
        self.readTLS(&section)
        self.check(section)
    }

    private mutating func readProxyProtocol(_ section: inout ConfigurationSection) {
        guard let elements = section.list("trusted") else { return }
        for (node, path) in elements {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            do {
                self.proxyProtocolTrusted.append(try AddressRange(text))
            } catch {
                section.reading.report(node.origin, path, error.message)
            }
        }
        if elements.isEmpty { section.report("trusted", "is empty; name the load balancers, or remove proxy_protocol") }
    }

    private mutating func readName(_ section: inout ConfigurationSection) {
        guard let (name, _, _) = section.text("name") else {
            if !section.contains("name") {
                section.report("name", "is missing; give the listener a name of your choice")
            }
            return
        }
        guard Self.isName(name) else {
            section.report(
                "name",
                "\"\(ConfigurationText.shown(name))\" is not a name; "
                    + "write up to 64 letters, digits, - and _, beginning with a letter"
            )
            return
        }
        self.name = name
    }

    /// Names of listeners and rule sets: they are parts of `--set` paths, of variables' names and of descriptors' names.
    static func isName(_ text: String) -> Bool {
        func isLetter(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
        guard let first = text.utf8.first, isLetter(first), text.utf8.count <= 64 else { return false }
        return text.utf8.allSatisfy { byte in
            isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
        }
    }

    private mutating func readAddresses(_ section: inout ConfigurationSection) {
        guard let elements = section.list("addresses") else {
            return
        }
        guard !elements.isEmpty, elements.count <= Self.addressesMax else {
            section.report("addresses", "from 1 to \(Self.addressesMax) addresses are needed, such as [\"[::]:8883\"]")
            return
        }
        var addresses: [ListenAddress] = []
        for (node, path) in elements {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            do {
                let address = try ListenAddress.parse(text)
                if let taken = addresses.first(where: { $0.overlaps(address) }) {
                    let both = taken == address ? "\(address) is there twice" : "\(taken) takes \(address) too"
                    section.reading.report(node.origin, path, "\(both); remove it")
                    continue
                }
                addresses.append(address)
            } catch {
                section.reading.report(node.origin, path, error.message)
            }
        }
        self.addresses = addresses
    }

    private mutating func readTLS(_ section: inout ConfigurationSection) {
        let isThere = section.contains("tls")
        var tls = TLS()
        tls.certificateFile = section.reading.absolutePath(tls.certificateFile)
        tls.keyFile = section.reading.absolutePath(tls.keyFile)
        tls.clientCAFile = tls.clientCAFile.map { section.reading.absolutePath($0) }
        section.section("tls") { tls.read(&$0) }
        switch (self.transport, isThere) {
        case (.tls, true):
            if self.clientCertificate == .none { tls.clientCAFile = nil }
            self.tls = tls
        case (.tls, false):
            section.report("tls", "is missing; name certificate_file, key_file and client_ca_file in a tls section")
        case (.tcp, true):
            section.report("tls", "has no use with transport: tcp; remove the section or write transport: tls")
        case (.tcp, false):
            break
        }
    }

    private func check(_ section: ConfigurationSection) {
        if self.transport == .tcp, self.clientCertificate != .none {
            section.report("client_certificate", "a listener with transport: tcp sees no certificates; remove it")
        } else if self.clientCertificate == .none, self.userNameFrom != .client {
            section.report(
                "user_name_from",
                "is \(self.userNameFrom.rawValue), but no certificate is asked for here; write client"
            )
        }
        if self.clientCertificate == .none, self.clientID != .any {
            section.report(
                "client_id",
                "is \(self.clientID.rawValue), but no certificate is asked for here; write any"
            )
        }
        guard self.transport == .tcp, !self.allowInsecureNetwork else { return }
        for address in self.addresses where !address.isLoopback {
            section.report(
                section.contains("addresses") ? "addresses" : "transport",
                "\(address) would be open to the network without encryption; listen on 127.0.0.1 or [::1], "
                    + "use transport: tls, or set allow_insecure_network: true"
            )
        }
    }
}

extension Configuration.Listener.TLS {
    mutating func read(_ section: inout ConfigurationSection) {
        section.path("certificate_file", into: &self.certificateFile)
        section.path("key_file", into: &self.keyFile)
        section.path("key_password_file", into: &self.keyPasswordFile)
        section.path("client_ca_file", into: &self.clientCAFile)
        section.choice("min_version", into: &self.minVersion)
        section.choice("max_version", into: &self.maxVersion)
        if self.minVersion > self.maxVersion {
            section.report(
                section.contains("min_version") ? "min_version" : "max_version",
                "min_version \(self.minVersion.rawValue) is above max_version \(self.maxVersion.rawValue)"
            )
        }
        Self.readNames(&section, "ciphers", into: &self.ciphers)
        Self.readNames(&section, "cipher_suites", into: &self.cipherSuites)
        var groups: String? = self.groups
        Self.readNames(&section, "groups", into: &groups)
        self.groups = groups ?? self.groups
        section.integer("verify_depth", 0...100, into: &self.verifyDepth)
        section.flag("session_tickets", into: &self.sessionTickets)
        let second = Configuration.nanosecondsPerSecond
        section.duration("ticket_lifetime", 60 * second...7 * 86_400 * second, into: &self.ticketLifetimeNanoseconds)
        section.path("ticket_secret_file", into: &self.ticketSecretFile)
        section.path("previous_ticket_secret_file", into: &self.previousTicketSecretFile)
        for (node, path) in section.list("crl_files") ?? [] {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            self.crlFiles.append(section.reading.absolutePath(text))
        }
        section.path("crl_directory", into: &self.crlDirectory)
        for (node, path) in section.list("crl_urls") ?? [] {
            guard let (text, _) = section.reading.text(of: node, path: path) else { continue }
            do throws(ValueError) {
                _ = try HTTPAddress.parse(text)
                self.crlURLs.append(text)
            } catch {
                section.reading.report(node.origin, path, error.message)
            }
        }
        if !self.crlURLs.isEmpty, self.crlDirectory == nil {
            section.report("crl_urls", "need crl_directory, where `martlet crl refresh` puts what it fetches")
        }
        section.choice("crl_overdue", into: &self.crlOverdue)
        section.choice("crl_missing", into: &self.crlMissing)
        if self.crlMissing == .refuse, !self.usesCRLs {
            section.report(
                "crl_missing",
                "refuse needs crl_files or crl_directory: without lists no certificate gets in"
            )
        }
    }

    /// OpenSSL's lists: it ignores what it does not know, so at least what cannot be a name is refused here.
    private static func readNames(_ section: inout ConfigurationSection, _ key: String, into value: inout String?) {
        guard let (text, _, _) = section.text(key) else { return }
        let signs = Array("-_:+!@=.,?*/".utf8)
        let isList = text.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || signs.contains(byte)
        }
        guard isList, text.utf8.count <= 4096 else {
            section.report(key, "is not a list of OpenSSL's names, separated by colons")
            return
        }
        value = text
    }
}
