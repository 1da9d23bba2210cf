import Glibc

/// The repository's files as the tests look at them.
enum SourceTree {
    struct File {
        /// From the repository's root: `Sources/Common/Limits.swift`.
        var path: String
        var text: String
        /// Of Swift files: without comments and what is inside strings.
        var code: [UInt8]
        var imports: [String]
        var functions: [SwiftText.Function]

        init(path: String, text: String) {
            self.path = path
            self.text = text
            let isSwift = path.hasSuffix(".swift")
            self.code = isSwift ? SwiftText.code(text) : []
            let lines = isSwift ? SwiftText.codeLines(text) : []
            self.imports = SwiftText.imports(lines)
            self.functions = SwiftText.functions(lines)
        }
    }

    /// The repository's root: the folder of Package.swift, two above this file's.
    static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// Sorted; without hidden ones and what is built.
    static let files: [File] = {
        var files: [File] = []
        for folder in ["Sources", "Tests", "Fuzz", "deploy", "docs", "scripts"] { collect(folder, &files) }
        for name in ["Package.swift", "Makefile", "README.md"] { collect(name, &files) }
        return files.sorted { $0.path < $1.path }
    }()

    static var swiftFiles: [File] { self.files.filter { $0.path.hasSuffix(".swift") } }

    /// Swift files below `Sources`.
    static var sources: [File] { self.swiftFiles.filter { $0.path.hasPrefix("Sources/") } }

    static func file(_ path: String) -> File? { self.files.first { $0.path == path } }

    private static func collect(_ path: String, _ files: inout [File]) {
        let absolute = "\(self.root)/\(path)"
        var information = stat()
        guard stat(absolute, &information) == 0 else { return }
        if information.st_mode & S_IFMT == S_IFDIR {
            for name in self.entries(absolute) { self.collect("\(path)/\(name)", &files) }
        } else if information.st_size < 4 << 20, let bytes = self.read(absolute) {
            // Binary files are none of a tidy test's business.
            if !bytes.contains(0) { files.append(File(path: path, text: String(decoding: bytes, as: UTF8.self))) }
        }
    }

    private static func entries(_ folder: String) -> [String] {
        guard let handle = opendir(folder) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return count == 0 ? bytes : nil }
            bytes += chunk.prefix(count)
        }
    }
}
