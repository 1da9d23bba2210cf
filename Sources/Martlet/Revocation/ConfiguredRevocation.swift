import Common
import Glibc
import TLS

/// The revocation lists of a listener's configuration, as its processes would find them.
enum ConfiguredRevocation {
    /// - Returns: the lists, and for each file that is none the error about it, with the setting that it was found by.
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
                if error.code != ENOENT {
                    let problem = TLSError("crl_directory \(directory): \(error.reason)", setting: "crl_directory")
                    problems.append(problem)
                }
            }
        }
        let files = tls.crlFiles.map { ($0, "crl_files") } + inDirectory.map { ($0, "crl_directory") }
        for (path, setting) in files {
            do throws(TLSError) {
                parts += try RevocationList.Part.read(file: path, authorities: authorities)
            } catch {
                var problem = error
                problem.setting = problem.setting ?? setting
                problems.append(problem)
            }
        }
        return (RevocationList(parts), problems)
    }
}
