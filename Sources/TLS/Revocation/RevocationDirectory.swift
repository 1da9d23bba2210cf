import Common
import Glibc

/// `crl_directory`: which files in it are revocation lists.
package enum RevocationDirectory {
    private static let filesMax = 10_000

    /// In the order of their names.
    package static func paths(in directory: String) throws(SystemError) -> [String] {
        guard let stream = opendir(directory) else { throw SystemError("open \(directory)") }
        defer { closedir(stream) }
        var paths: [String] = []
        while let entry = Glibc.readdir(stream), paths.count < Self.filesMax {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            // What is being written has another name until it is complete.
            if !name.hasPrefix("."), !name.hasSuffix(".tmp") { paths.append("\(directory)/\(name)") }
        }
        return paths.sorted()
    }
}
