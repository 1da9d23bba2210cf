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
}
