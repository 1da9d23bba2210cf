extension Configuration.Listener.ClientIDPolicy {
    /// The client id in force; nil: the client is to be refused. Listener and router judge alike, each for itself.
    ///
    /// - Parameters:
    ///   - clientIdentifier: of the CONNECT packet; may be empty.
    ///   - commonName: of the verified certificate; nil without one.
    public func clientIdentifier(_ clientIdentifier: [UInt8], commonName: [UInt8]?) -> [UInt8]? {
        switch self {
        case .any:
            return clientIdentifier
        case .mustEqualCommonName:
            return commonName == clientIdentifier && !clientIdentifier.isEmpty ? clientIdentifier : nil
        case .fromCommonName:
            return commonName.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    /// For whoever asks why there is none.
    public func refusal(hasCertificate: Bool) -> String {
        let reason = hasCertificate ? "the certificate's common name does not fit" : "the client shows no certificate"
        return "client_id: \(self.rawValue), and \(reason)"
    }
}

extension Configuration.Listener.UserNameSource {
    /// The name in force; nil: there is none. A client without a certificate has none where the name is the certificate's: what it
    /// writes into CONNECT might be the name of a device that logs in by its certificate.
    public func userName(_ written: [UInt8]?, identity: CertificateIdentity?) -> [UInt8]? {
        switch self {
        case .client: written
        case .commonName: identity?.commonName
        case .subject: identity?.subject
        }
    }

    /// Why a client of this name in force is refused; nil: it is not.
    public func refusal(of userName: [UInt8]?, hasCertificate: Bool) -> String? {
        let missing: String
        switch self {
        case .client: return nil
        case .commonName: missing = "the certificate has no common name"
        case .subject: missing = "the certificate has no subject"
        }
        guard userName?.isEmpty ?? true else { return nil }
        return "user_name_from: \(self.rawValue), and \(hasCertificate ? missing : "the client shows no certificate")"
    }
}

extension Configuration.Offer {
    /// Why a client with this client id, the one in force, is refused; nil: it is not.
    public func refusal(ofClientIdentifier identifier: [UInt8], maxLengthBytes: Int) -> String? {
        if identifier.isEmpty, self.emptyClientID == .refuse {
            return "the client id is empty, empty_client_id is refuse"
        }
        guard identifier.count > maxLengthBytes else { return nil }
        return "a client id of \(identifier.count) bytes, mqtt.max_client_id_length is \(maxLengthBytes)"
    }
}
