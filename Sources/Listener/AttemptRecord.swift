import Common
import TLS

/// One client's attempt to come in, for whoever asks why. Holds no password.
struct AttemptRecord {
    var wallNanoseconds: UInt64
    var address: String
    var listener: String
    var identity: CertificateIdentity?
    /// Of one that was not believed, and has no identity.
    var certificate: CertificateNumbers?
    var clientIdentifier: [UInt8]
    var userName: [UInt8]?
    /// Of the MQTT and the TLS connection; nil: it did not get that far.
    var version: ProtocolVersion?
    var security: String?
    var times: ConnectTimes
    /// Nil: its session was opened.
    var refusal: RefusalReason?
    var detail: String

    var block: Report.Block {
        var block: Report.Block = []
        block.add("time", StandardErrorLogHandler.timestamp(nanoseconds: self.wallNanoseconds))
        block.add("what", self.refusal == nil ? "session opened" : "refused")
        if let refusal = self.refusal { block.add("reason", refusal) }
        if !self.detail.isEmpty { block.add("detail", self.detail) }
        block.add("device", bytes: self.identity?.commonName)
        block.add("subject", bytes: self.identity?.subject)
        block.add("issuer", bytes: self.identity?.issuer)
        block.add("serial", bytes: self.identity?.serialNumber ?? self.certificate?.serialNumber)
        if let fingerprint = self.identity?.fingerprint ?? self.certificate?.fingerprint {
            block.add("fingerprint", bytes: DeviceSearch.hexadecimal(fingerprint))
        }
        block.add("client_id", bytes: self.clientIdentifier)
        block.add("user_name", bytes: self.userName)
        block.add("address", self.address)
        block.add("listener", self.listener)
        if let security = self.security { block.add("tls", security) }
        if let version = self.version { block.add("mqtt", version.description) }
        block.add("stages", self.times.description)
        return block
    }
}
