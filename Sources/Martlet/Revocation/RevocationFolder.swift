import Common
import Glibc
import TLS

/// The revocation lists of a listener's configuration, as its processes would find them.
enum RevocationFolder {
    /// - Returns: the lists, and for each file that is none the error about it.
    static func read(_ tls: Configuration.Listener.TLS) -> (list: RevocationList, problems: [TLSError]) {
        var parts: [RevocationList.Part] = []
        var problems: [TLSError] = []
        guard let authorities = tls.clientCAFile else { return (RevocationList([]), []) }
        for path in tls.crlFiles + Self.files(in: tls.crlDirectory) {
            do throws(TLSError) {
                parts += try RevocationList.Part.read(file: path, authorities: authorities)
            } catch {
                problems.append(error)
            }
        }
        return (RevocationList(parts), problems)
    }

    private static func files(in directory: String?) -> [String] {
        guard let directory, let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var paths: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix("."), !name.hasSuffix(".tmp") { paths.append("\(directory)/\(name)") }
        }
        return paths.sorted()
    }
}
