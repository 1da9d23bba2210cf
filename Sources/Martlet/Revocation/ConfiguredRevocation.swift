import Common
import TLS

/// The revocation lists of a listener's configuration, as its processes would find them.
enum ConfiguredRevocation {
    /// - Returns: the lists, and for each file that is none the error about it.
    static func read(_ tls: Configuration.Listener.TLS) -> (list: RevocationList, problems: [TLSError]) {
        var parts: [RevocationList.Part] = []
        var problems: [TLSError] = []
        guard let authorities = tls.clientCAFile else { return (RevocationList([]), []) }
        // One that is not there yet holds none.
        let inDirectory = tls.crlDirectory.flatMap { try? RevocationDirectory.paths(in: $0) } ?? []
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
