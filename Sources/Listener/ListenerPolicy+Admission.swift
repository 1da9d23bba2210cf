import Common

extension ListenerPolicy {
    enum Admission: Equatable {
        /// To be authenticated under this client id: CONNECT's or the certificate's.
        case admitted(clientIdentifier: [UInt8])
        case refused(RefusalReason, code: ReasonCode, detail: String)
    }

    /// Versions that the listener does not offer, wills above the limit, and client ids that the certificate does not allow, are
    /// refused before anybody is asked.
    func admission(of packet: ConnectPacket, identity: CertificateIdentity?) -> Admission {
        guard self.configuration.offer.protocolVersions.contains(packet.version) else {
            let detail = "protocol_versions of the listener leaves out \(packet.version)"
            return .refused(.protocolVersion, code: .unsupportedProtocolVersion, detail: detail)
        }
        if let bytes = packet.will?.byteCount, bytes > self.maxWillSizeBytes {
            let detail = "a will of \(bytes) bytes, mqtt.max_will_size is \(self.maxWillSizeBytes)"
            return .refused(.willTooLarge, code: .packetTooLarge, detail: detail)
        }
        let policy = self.configuration.clientID
        guard let identifier = policy.clientIdentifier(packet.clientIdentifier, commonName: identity?.commonName) else {
            let detail = policy.refusal(hasCertificate: identity != nil)
            return .refused(.clientIdentifierPolicy, code: .clientIdentifierNotValid, detail: detail)
        }
        return .admitted(clientIdentifier: identifier)
    }

    /// The name in force: CONNECT's or the certificate's.
    func userName(of packet: ConnectPacket, identity: CertificateIdentity?) -> [UInt8]? {
        self.configuration.userNameFrom.userName(packet.userName, identity: identity)
    }
}
