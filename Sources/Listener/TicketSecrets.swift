import Common
import Glibc
import TLS

/// The secrets that session tickets are made from: of all listener processes of the host, or, from a file that the operator
/// distributes, of all hosts.
enum TicketSecrets {
    /// Made anew at each boot of the host, since the runtime directory does not outlive it.
    static let fileName = "ticket.secret"

    /// - Throws: a sentence that names the file.
    static func load(
        _ tls: Configuration.Listener.TLS,
        runtimeDirectory: String
    ) throws(StartError) -> TicketConfiguration? {
        guard tls.sessionTickets else { return nil }
        var secrets: [[UInt8]] = []
        if let file = tls.ticketSecretFile {
            secrets.append(try Self.read(file))
        } else {
            secrets.append(try Self.readOrCreate(runtimeDirectory + "/" + Self.fileName))
        }
        if let file = tls.previousTicketSecretFile { secrets.append(try Self.read(file)) }
        let lifetime = Int64(tls.ticketLifetimeNanoseconds / Nanoseconds.perSecond)
        return TicketConfiguration(secrets: secrets, lifetimeSeconds: lifetime) {
            Int64(Clock.wall() / Nanoseconds.perSecond)
        }
    }

    private static func read(_ path: String) throws(StartError) -> [UInt8] {
        do {
            return try Configuration.readTicketSecret(path)
        } catch {
            throw StartError("ticket secret \(path): \(error.message)")
        }
    }

    /// Of several listeners that start at once, one makes the file: a link to a file that is complete is made, or found made.
    private static func readOrCreate(_ path: String) throws(StartError) -> [UInt8] {
        if access(path, F_OK) == 0 { return try Self.read(path) }
        let temporary = "\(path).\(getpid())"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw StartError(SystemError("create \(temporary)").description) }
        let secret = SecureRandom.bytes(48)
        let written = write(file, secret, secret.count)
        let failure = SystemError("write \(temporary)")
        close(file)
        defer { unlink(temporary) }
        guard written == secret.count else { throw StartError(failure.description) }
        guard link(temporary, path) == 0 || errno == EEXIST else {
            throw StartError(SystemError("create \(path)").description)
        }
        return try Self.read(path)
    }
}
