import Glibc

/// A program that is built beside the test bundle.
package func builtProgram(_ name: String) throws -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    let own = String(decoding: buffer[..<max(0, length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // `swift test` runs a helper of the toolchain that loads the bundle: then the arguments name it.
    for candidate in [own] + CommandLine.arguments {
        var path = candidate[...]
        while let slash = path.lastIndex(of: "/") {
            path = path[..<slash]
            let executable = "\(path)/\(name)"
            if access(executable, X_OK) == 0 { return executable }
        }
    }
    throw ProcessError(description: "\(name) is not built")
}
