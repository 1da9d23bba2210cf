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
    public var refusal: String { "client_id: \(self.rawValue), and the certificate's common name does not fit" }
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
