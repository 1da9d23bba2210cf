import Common
import Glibc
import TLS

// What becomes of the client's certificate.
extension AuthTest {
    private struct Verification {
        var failure: TLSFailure?
        var verdict = "refused in the TLS handshake"
        /// What speaks against relying on that.
        var note: String?
    }

    /// A listener's.
    private struct Answer {
        var failure: TLSFailure?
    }

    /// - Returns: who the client is by its certificate, as far as that can be told, and whether the listener refuses it for that.
    func judgeCertificate(_ block: inout Report.Block) throws -> (identity: CertificateIdentity?, isRefused: Bool) {
        let loaded = try self.certificateFile.map { try CertificateIdentity.load(certificateFile: $0) }
        if let identity = loaded?.identity {
            block.add("device", bytes: identity.commonName)
            block.add("subject", bytes: identity.subject)
            block.add("fingerprint", bytes: DeviceSearch.hexadecimal(identity.fingerprint))
        }
        let verification = try self.verify()
        if let failure = verification.failure {
            let reason = failure.kind.reason
            block.add("certificate", failure.detail)
            if let note = verification.note { block.add("note", note) }
            block.add("verdict", verification.verdict)
            block.add("reason", reason)
            let advice = Advice.text(ofHandshake: reason, detail: failure.detail)
            if let advice { block.add("what_to_do", advice) }
            return (loaded?.identity, true)
        }
        if let refusal = loaded?.refusal {
            block.add("certificate", refusal)
            block.add("verdict", "refused after the TLS handshake")
            block.add("reason", "certificate-field")
            return (loaded?.identity, true)
        }
        block.add("certificate", loaded == nil ? "none" : "good")
        if let note = verification.note { block.add("note", note) }
        return (loaded?.identity, false)
    }

    /// By the listener that runs, and without one by the files as they are now.
    private func verify() throws -> Verification {
        guard let tls = self.listener.tls else { return Verification() }
        guard let file = self.certificateFile else {
            guard self.listener.clientCertificate == .required else { return Verification() }
            return Verification(
                failure: TLSFailure(kind: .noClientCertificate, detail: "none, and the listener requires one")
            )
        }
        guard self.listener.clientCertificate != .none else { return Verification() }
        let (list, problems) = ConfiguredRevocation.read(tls)
        let unread = problems.first { !$0.isOfStranger }
        let checker = RevocationChecker(list: list, policy: RevocationChecker.Policy(tls)) { RevocationList.now }
        let byFiles = try ClientCertificateCheck.failure(
            certificateFile: file,
            listener: TLSServerConfiguration(self.listener, tls),
            revocation: checker
        )
        guard let inForce = try self.askListeners(file) else {
            return Self.withoutListener(byFiles, unread, usesLists: tls.usesCRLs)
        }
        var result = Verification(failure: inForce.failure)
        if let unread {
            result.note = "revocation list not usable: \(unread); the listener goes on with what it has in force"
        } else if inForce.failure?.kind != byFiles?.kind {
            result.note =
                "by the files as they are now: \(byFiles?.detail ?? "good"); the listener has others in force, see martlet status, and "
                + "why lists may be kept in docs/certificates.md"
        }
        return result
    }

    private static func withoutListener(_ byFiles: TLSFailure?, _ unread: TLSError?, usesLists: Bool) -> Verification {
        if let unread {
            return Verification(
                failure: TLSFailure(kind: .revocationUnknown, detail: "revocation list not usable: \(unread)"),
                verdict: "refused: no listener answers, and none starts with this revocation list"
            )
        }
        return Verification(
            failure: byFiles,
            note: usesLists
                ? "no listener answers: by the files as they are now; one that runs may have other lists in force" : nil
        )
    }

    /// The first process that answers; nil: none knows this listener.
    private func askListeners(_ file: String) throws -> Answer? {
        let certificates = String(decoding: try ClientCertificateCheck.certificates(file: file), as: UTF8.self)
        let command = ControlCommand(["verify", self.listener.name, certificates])
        for instance in 0..<self.configuration.processes.listeners {
            let reply = try ControlClient.send(command, to: .listener, instance: instance + 1, self.configuration)
            guard reply.isDone else { continue }
            guard let block = Report(text: reply.text).blocks.first else { return Answer(failure: nil) }
            let kind = block.value("kind").flatMap { TLSFailure.Kind(rawValue: $0) }
            return Answer(failure: TLSFailure(kind: kind ?? .other, detail: block.value("detail") ?? ""))
        }
        return nil
    }
}
