import Common

extension ImportedConfiguration.Listener {
    /// - Parameter transport: EMQX's word, `ssl` or `tcp`.
    init(transport: String, name: String) {
        let plain = name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") ? $0 : "-" }
        self.init(name: "\(transport)-\(String(plain))")
        self.isTLS = transport == "ssl"
    }

    /// `8883`, `:8883`, `0.0.0.0:8883`, `[::]:8883` or `:::8883`.
    mutating func setAddress(_ text: String) {
        let colon = text.lastIndex(of: ":")
        let host = colon.map { String(text[..<$0]) } ?? ""
        let port = colon.map { String(text[$0...].dropFirst()) } ?? text
        switch host {
        case "", "*": self.address = "[::]:\(port)"
        case "localhost": self.address = "127.0.0.1:\(port)"
        default:
            let isBare = ListenAddress.numeric(host, isIPv6: true) != nil
            self.address = isBare ? "[\(host)]:\(port)" : text
        }
    }

    /// Only this host reaches it.
    var isLocal: Bool {
        do throws(ValueError) { return try ListenAddress.parse(self.address).isLoopback } catch { return false }
    }
}

extension ImportedConfiguration {
    /// What of a client its certificate stands for, as both EMQX name it.
    enum CertificateUse: String, CaseIterable {
        case userName = "peer_cert_as_username"
        case clientIdentifier = "peer_cert_as_clientid"
    }

    /// - Parameter given: a field of the certificate: `cn`, `dn`, `crt`, `pem`, `md5`, or `disabled`.
    mutating func use(_ given: String, as use: CertificateUse, of listener: inout Listener, line: Int) {
        let field = given.lowercased()
        guard !["disabled", ""].contains(field) else { return }
        guard listener.clientCertificate != "none" else {
            return self.warn(
                line,
                "\(use.rawValue) = \(field) is left out: \(listener.name) asks for no certificate"
            )
        }
        switch (use, field) {
        case (.userName, "cn"), (.userName, "dn"): listener.userNameFrom = field
        case (.clientIdentifier, "cn"): listener.clientIDFromCommonName = true
        default:
            let (what, key) =
                use == .userName ? ("user names", "user_name_from: cn or dn") : ("client ids", "client_id: from_cn")
            return self.warn(
                line,
                "\(use.rawValue) = \(field) is not supported: \(what) were of the certificate, and are what CONNECT says "
                    + "here, so that each device can take another one's name; write \(key), and name the rows in Redis accordingly"
            )
        }
        guard listener.clientCertificate == "optional" else { return }
        let key = use == .userName ? "user_name_from" : "client_id"
        self.warn(
            line,
            "\(use.rawValue) = \(field): clients without a certificate, which \(listener.name) lets in, were what their CONNECT says; "
                + "here they are refused, so that none takes a device's name: give them a listener without \(key)"
        )
    }

    mutating func add(_ listener: Listener, line: Int) {
        if !listener.isTLS, !listener.isLocal {
            self.warn(line, "\(listener.name) is open to the network without encryption; is that meant?")
        }
        self.listeners.append(listener)
    }

    /// A configuration without a listener is none.
    mutating func listenerForNone() -> Listener {
        self.warn(0, "no listener is taken over; one for TLS on port 8883 is written")
        var listener = Listener(name: "devices")
        listener.clientCertificate = "required"
        return listener
    }
}
