import Glibc

/// A new, private directory, removed with everything in it when the object goes.
package final class TemporaryDirectory: Sendable {
    /// Absolute, without a slash at the end.
    package let path: String

    package init(_ prefix: String = "martlet-test") throws {
        var template = Array("/tmp/\(prefix)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ProcessError(description: "mkdtemp: errno \(errno)") }
        self.path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        _ = try? runProcess("rm", arguments: ["-rf", "--", self.path])
    }

    /// The absolute path of an entry in the directory.
    package func file(_ name: String) -> String { "\(self.path)/\(name)" }
}
