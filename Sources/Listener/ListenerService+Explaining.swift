import Common
import TLS

/// Who tried to come in, and what became of it.
extension ListenerService {
    private static var resultsMax: Int { 20 }

    func record(
        _ connection: ClientConnection,
        _ refusal: RefusalReason?,
        detail: String,
        certificate: CertificateNumbers? = nil
    ) {
        var record = connection.attemptRecord(refusal, detail: detail)
        record.certificate = certificate
        self.attempts.append(record)
        self.admission.ended(at: connection.address, refusal)
    }

    /// A connection of which nothing but the address is known. Those that the log omits are not kept either: who is refused by the thousand
    /// would take the place of all others.
    func refusedAtOnce(
        _ reason: RefusalReason,
        _ address: SocketAddress,
        _ policy: ListenerPolicy,
        accepted: Instant? = nil,
        detail: String
    ) {
        let text = address.description
        guard self.logRefusal(reason, address: text, device: "-", listener: policy, detail: detail) else { return }
        var times = ConnectTimes(accepted: accepted ?? self.loop.now)
        times.end = self.loop.now
        self.attempts.append(
            AttemptRecord(
                wallNanoseconds: Clock.wall(),
                address: text,
                listener: policy.configuration.name,
                clientIdentifier: [],
                times: times,
                refusal: reason,
                detail: detail
            )
        )
    }

    package func perform(_ command: ControlCommand) -> ControlReply? {
        if command.words.count == 3, command.words[0] == "verify" {
            return self.verify(certificates: command.words[2], listener: command.words[1])
        }
        guard command.words.count == 2, command.words[0] == "why" else { return nil }
        let search = DeviceSearch(command.words[1])
        let text = Array(command.words[1].utf8)
        let found = self.attempts.newestFirst.filter { record in
            let isFound = search.finds(
                identity: record.identity,
                clientIdentifier: record.clientIdentifier,
                userName: record.userName,
                address: Array(record.address.utf8)
            )
            if isFound || record.identity != nil { return isFound }
            // A certificate that did not verify has left its name in the sentence only.
            return Self.names(record.detail, text)
                || record.certificate.map {
                    search.finds(serialNumber: $0.serialNumber, fingerprint: $0.fingerprint)
                } ?? false
        }
        return ControlReply(
            isDone: true,
            text: Report(found.prefix(Self.resultsMax).map { $0.block + [self.processLine] }).text
        )
    }

    /// What a handshake with these certificates would come to now: a report that is empty where nothing speaks against them.
    private func verify(certificates: String, listener: String) -> ControlReply {
        let policy = self.policies.first { $0.configuration.name == listener }
        guard let policy, policy.configuration.clientCertificate != .none, let context = policy.tls else {
            return ControlReply(isDone: false, text: "no listener \(listener) looks at certificates here")
        }
        do throws(TLSError) {
            let failure = try ClientCertificateCheck.failure(certificates: Array(certificates.utf8), context: context)
            let block = failure.map { failure in
                var block: Report.Block = []
                block.add("kind", failure.kind.rawValue)
                block.add("detail", failure.detail)
                return block
            }
            return ControlReply(isDone: true, text: Report(block.map { [$0] } ?? []).text)
        } catch {
            return ControlReply(isDone: false, text: error.description)
        }
    }

    private var processLine: Report.Line { Report.Line(name: "process", value: self.name) }

    /// `CN=text` stands in a sentence, and goes on no further.
    private static func names(_ detail: String, _ text: [UInt8]) -> Bool {
        let bytes = Array(detail.utf8)
        let wanted = Array("CN=".utf8) + text
        guard bytes.count >= wanted.count else { return false }
        return (0...(bytes.count - wanted.count)).contains { start in
            guard bytes[start..<start + wanted.count].elementsEqual(wanted) else { return false }
            let end = start + wanted.count
            return end == bytes.count || [UInt8(ascii: "\""), UInt8(ascii: ",")].contains(bytes[end])
        }
    }
}
