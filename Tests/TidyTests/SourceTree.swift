import Glibc
import TestSupport

/// The sources of the package this test was compiled from.
struct SourceTree {
    struct File {
        /// From the package's root.
        var path: String
        var text: String
        var name: Substring { self.path.split(separator: "/").last ?? "" }
    }

    let root: String

    init() {
        // Tests/TidyTests/SourceTree.swift
        self.root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }

    func read(_ path: String) throws -> String {
        String(decoding: try readFile(self.root + "/" + path), as: UTF8.self)
    }

    /// All Swift files below a folder.
    func swiftFiles(below folder: String) throws -> [File] {
        var files: [File] = []
        guard let directory = opendir(self.root + "/" + folder) else {
            throw ProcessError(description: "no folder \(folder)")
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(".") { continue }
            let path = "\(folder)/\(name)"
            if entry.pointee.d_type == UInt8(DT_DIR) {
                files += try self.swiftFiles(below: path)
            } else if name.hasSuffix(".swift") {
                files.append(File(path: path, text: try self.read(path)))
            }
        }
        return files
    }
}
