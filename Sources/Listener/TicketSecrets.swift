import Common
import Glibc
import TLS

/// The secrets that session tickets are made from: of all listener processes of the host, or, from a file that the operator
/// distributes, of all hosts.
enum TicketSecrets {
    /// Made anew at each boot of the host, since the runtime directory does not outlive it.
    static let fileName = "ticket.secret"
    private static let secretBytes = 48
    /// It is held for milliseconds, and a stopped process that holds it must not keep the others waiting for ever.
    private static let lockWaitNanoseconds = 10 * Nanoseconds.perSecond

    /// - Parameter warnings: gets what the operator should know of it.
    /// - Throws: a sentence that names the file.
    static func load(
        _ tls: Configuration.Listener.TLS,
        runtimeDirectory: String,
        warnings: inout [String]
    ) throws(StartError) -> TicketConfiguration? {
        guard tls.sessionTickets else { return nil }
        var secrets: [[UInt8]] = []
        if let file = tls.ticketSecretFile {
            secrets.append(try Self.read(file))
        } else {
            secrets.append(try Self.readOrCreate(runtimeDirectory + "/" + Self.fileName, &warnings))
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

    /// Of several listeners that start at once, one makes the file, under a lock, and all have the same. One that this user has made, and
    /// that holds no secret, is made anew: who cannot be read, or is somebody else's, stays as it is.
    private static func readOrCreate(_ path: String, _ warnings: inout [String]) throws(StartError) -> [UInt8] {
        if access(path, F_OK) == 0, Self.damage(path) == nil { return try Self.read(path) }
        do throws(SystemError) {
            let lock = try FileLock(path: path + ".lock")
            guard try lock.acquire(timeoutNanoseconds: Self.lockWaitNanoseconds) else {
                throw SystemError("lock \(lock.path)", code: EWOULDBLOCK)
            }
            defer { lock.release() }
            let damage = Self.damage(path)
            AtomicFile.removeLeftovers(of: path)
            if damage != nil || access(path, F_OK) != 0 {
                try AtomicFile.write(SecureRandom.bytes(Self.secretBytes), to: path, permissions: 0o600)
            }
            if let damage {
                warnings.append(
                    "\(path) \(damage), and was made anew: TLS session tickets from before count no more; listeners that run "
                        + "take the new one with the next reload"
                )
            }
        } catch {
            throw StartError(error.description)
        }
        return try Self.read(path)
    }

    /// What shows that the file holds no secret, though nothing but a listener of this user has made it: its disk was full, say, or the
    /// host lost its power; nil: nothing does.
    private static func damage(_ path: String) -> String? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
            status.st_size <= Self.secretBytes,
            let bytes = try? Configuration.readFile(path, bytesMax: Self.secretBytes)
        else { return nil }
        guard bytes.count >= Configuration.Listener.TLS.ticketSecretBytes.lowerBound else {
            return "had \(bytes.count) bytes"
        }
        return bytes.allSatisfy { $0 == 0 } ? "held zeros" : nil
    }
}
