import COpenSSL

/// Handshakes in memory of a server's context with a client that offers all that OpenSSL has. OpenSSL takes settings of which no client can
/// make use: whether a cipher goes with the certificate and the groups, it finds out when somebody comes.
struct TrialHandshake: ~Copyable {
    private let server: OpaquePointer
    private let configuration: TLSServerConfiguration
    private let client: OpaquePointer

    /// - Returns: nil where OpenSSL cannot make such a client: nothing is known then.
    init?(_ server: OpaquePointer, _ configuration: TLSServerConfiguration) {
        let ciphers = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
        guard let builder = try? ContextBuilder(server: false),
            (try? builder.setVersions(minimum: configuration.minimumVersion, maximum: configuration.maximumVersion))
                != nil,
            SSL_CTX_set_cipher_list(builder.pointer, ciphers) == 1,
            SSL_CTX_set_ciphersuites(builder.pointer, Self.suites) == 1,
            martlet_ssl_context_set_groups(builder.pointer, Self.groups) == 1
        else {
            OpenSSLLibrary.clearErrors()
            return nil
        }
        SSL_CTX_set_verify(builder.pointer, SSL_VERIFY_NONE, nil)
        self.client = builder.finish()
        self.server = server
        self.configuration = configuration
    }

    deinit {
        SSL_CTX_free(self.client)
    }

    private static let suites = "\(ContextBuilder.serverSuites):TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"

    /// Of all providers, each once: a group may have several names.
    private static let groups: String = {
        final class Found {
            var names: [UInt32: String] = [:]
        }
        let found = Found()
        OSSL_PROVIDER_do_all(
            nil,
            { provider, found in
                _ = OSSL_PROVIDER_get_capabilities(
                    provider,
                    "TLS-GROUP",
                    { parameters, found in
                        var (identifier, name) = (UInt32(0), UnsafePointer<CChar>?.none)
                        guard let found,
                            OSSL_PARAM_get_uint(
                                OSSL_PARAM_locate_const(parameters, OSSL_CAPABILITY_TLS_GROUP_ID),
                                &identifier
                            ) == 1,
                            OSSL_PARAM_get_utf8_string_ptr(
                                OSSL_PARAM_locate_const(parameters, OSSL_CAPABILITY_TLS_GROUP_NAME),
                                &name
                            ) == 1, let name
                        else { return 1 }
                        let names = Unmanaged<Found>.fromOpaque(found).takeUnretainedValue()
                        names.names[identifier] = String(cString: name)
                        return 1
                    },
                    found
                )
                return 1
            },
            Unmanaged.passUnretained(found).toOpaque()
        )
        defer { OpenSSLLibrary.clearErrors() }
        guard let context = SSL_CTX_new(TLS_client_method()) else { return "" }
        defer { SSL_CTX_free(context) }
        // X25519, which most servers want, first.
        let names = found.names.sorted { ($0.key == 29 ? 0 : $0.key) < ($1.key == 29 ? 0 : $1.key) }.map(\.value)
        return names.filter { martlet_ssl_context_set_groups(context, $0) == 1 }.joined(separator: ":")
    }()

    /// - Throws: why a server with this context would let nobody in.
    func run() throws(TLSError) {
        guard let reason = self.refusal() else { return }
        let setting =
            if self.configuration.ciphers != nil, self.refusal(adjust: Self.usualCiphers) == nil {
                "ciphers"
            } else if self.configuration.groups != nil, self.refusal(adjust: Self.allGroups) == nil {
                "groups"
            } else if self.configuration.ciphers != nil, self.configuration.groups != nil,
                self.refusal(adjust: { Self.usualCiphers($0) && Self.allGroups($0) }) == nil
            {
                "ciphers"
            } else {
                "certificate_file"
            }
        throw TLSError(self.text(setting, reason), setting: setting)
    }

    private static func usualCiphers(_ ssl: OpaquePointer) -> Bool {
        SSL_set_cipher_list(ssl, ContextBuilder.defaultCiphers) == 1
    }

    private static func allGroups(_ ssl: OpaquePointer) -> Bool { martlet_ssl_set_groups(ssl, Self.groups) == 1 }

    private func text(_ setting: String, _ reason: String) -> String {
        let (lowest, highest) = (self.configuration.minimumVersion, self.configuration.maximumVersion)
        let versions = lowest == highest ? "TLS \(lowest.number)" : "TLS \(lowest.number) and \(highest.number)"
        let key = ServerKey(SSL_CTX_get0_certificate(self.server))
        let certificate = "certificate_file \(self.configuration.certificateFile)"
        return switch setting {
        case "ciphers":
            "ciphers \"\(self.configuration.ciphers ?? "")\" has none that works at \(versions) with \(key) in \(certificate) "
                + "(\(reason)), so no client could connect; name some of ECDHE-\(key.isRSA ? "RSA" : "ECDSA"), or leave ciphers out"
        case "groups":
            "groups \"\(self.configuration.groups ?? "")\" has none that works at \(versions) with \(key) in \(certificate) "
                + "(\(reason)), so no client could connect; add X25519 or P-256"
        default:
            "\(certificate) has \(key), with which no client could connect at \(versions) (\(reason)); "
                + "RSA, P-256, P-384 and Ed25519 work with OpenSSL's own settings"
        }
    }

    /// Why no client gets as far as the server's certificate; nil: one does. Each version is tried, as clients have one or another.
    private func refusal(adjust: (OpaquePointer) -> Bool = { _ in true }) -> String? {
        var reason: String?
        for version in [self.configuration.maximumVersion, self.configuration.minimumVersion] {
            guard let refusal = self.refusal(at: version, adjust) else { return nil }
            reason = reason ?? refusal
        }
        return reason
    }

    private func refusal(at version: TLSVersion, _ adjust: (OpaquePointer) -> Bool) -> String? {
        let server = SSL_new(self.server)
        let client = SSL_new(self.client)
        defer {
            SSL_free(server)
            SSL_free(client)
            OpenSSLLibrary.clearErrors()
        }
        guard let server, let client, adjust(server), martlet_ssl_set_maximum(client, version.protocolNumber) == 1,
            martlet_ssl_connect(client, server) == 1
        else { return OpenSSLLibrary.takeErrorText() }
        for _ in 0..<2 {
            SSL_do_handshake(client)
            OpenSSLLibrary.clearErrors()
            let result = SSL_do_handshake(server)
            // The server wants to read: it has sent its certificate, or asks for a share of another group's key exchange.
            guard [SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE].contains(SSL_get_error(server, result)) else {
                return OpenSSLLibrary.takeErrorText()
            }
            SSL_do_handshake(client)
            OpenSSLLibrary.clearErrors()
            guard SSL_get_state(client) == TLS_ST_CW_CLNT_HELLO else { return nil }
        }
        return nil
    }
}

/// The key in a server's certificate.
struct ServerKey: CustomStringConvertible {
    let isRSA: Bool
    /// Empty: it is on none, or one without a name.
    private let curve: String
    let description: String

    init(_ certificate: OpaquePointer?) {
        let key = X509_get0_pubkey(certificate)
        let kind = EVP_PKEY_get_base_id(key)
        self.isRSA = kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS
        self.curve = kind == EVP_PKEY_EC ? Self.curve(of: key) : ""
        let name = OBJ_nid2sn(kind).map { String(cString: $0) } ?? "unknown"
        let text = self.isRSA ? "an RSA key" : kind == EVP_PKEY_EC ? "an EC key" : "a key of kind \(name)"
        self.description = self.curve.isEmpty ? text : "\(text) on \(self.curve)"
        OpenSSLLibrary.clearErrors()
    }

    private static func curve(of key: OpaquePointer?) -> String {
        var name = [CChar](repeating: 0, count: 80)
        guard EVP_PKEY_get_group_name(key, &name, name.count, nil) == 1 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// On a curve that TLS 1.3 does not have, and that most clients do not offer for 1.2.
    var isOfFewClients: Bool {
        !self.curve.isEmpty && !["prime256v1", "secp384r1", "secp521r1"].contains(self.curve)
    }
}
