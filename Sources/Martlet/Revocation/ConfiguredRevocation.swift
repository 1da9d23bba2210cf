import Common
import Glibc
import TLS

/// The revocation lists of a listener's configuration, as its processes would find them.
enum ConfiguredRevocation {
    /// - Returns: the lists, and for each file that is none the error about it.
    static func read(_ tls: Configuration.Listener.TLS) -> (list: RevocationList, problems: [TLSError]) {
        var parts: [RevocationList.Part] = []
        var problems: [TLSError] = []
        guard let authorities = tls.clientCAFile else { return (RevocationList([]), []) }
        var inDirectory: [String] = []
        if let directory = tls.crlDirectory {
            do throws(SystemError) {
                inDirectory = try RevocationDirectory.paths(in: directory)
            } catch {
                // One that is not there yet holds none.
                if error.code != ENOENT { problems.append(TLSError("crl_directory \(directory): \(error.reason)")) }
            }
        }
        for path in tls.crlFiles + inDirectory {
            do throws(TLSError) {
                parts += try RevocationList.Part.read(file: path, authorities: authorities)
            } catch {
                problems.append(error)
            }
        }
        return (RevocationList(parts), problems)
    }
}
