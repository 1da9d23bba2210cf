import Common
import Glibc

package func writeFile(_ path: String, _ bytes: [UInt8]) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw SystemError("open \(path)") }
    defer { close(file) }
    var offset = 0
    while offset < bytes.count {
        let count = bytes.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: offset), bytes.count - offset) }
        guard count > 0 else { throw SystemError("write \(path)") }
        offset += count
    }
}

package func readFile(_ path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw SystemError("open \(path)") }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = read(file, &chunk, chunk.count), count > 0 { bytes += chunk[..<count] }
    return bytes
}

/// A file of the repository, by its path there.
package func repositoryFile(_ path: String) throws -> String {
    // Tests/Support/Files.swift: three folders up.
    let parts = #filePath.split(separator: "/").dropLast(3)
    return String(decoding: try readFile("/" + parts.joined(separator: "/") + "/" + path), as: UTF8.self)
}
