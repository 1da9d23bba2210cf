import Common
import Glibc
import Synchronization

/// Why a command ends with exit code 1, in one sentence for the person who typed it.
package struct CommandFailure: Error, Equatable, CustomStringConvertible {
    package var description: String
    /// Mistakes in a file, one a line: they begin with the file's name, as compilers' do, and not with ours.
    package var isListOfMistakes = false

    package init(_ description: String) {
        self.description = description
    }

    package init(mistakes: [String]) {
        self.description = mistakes.joined(separator: "\n")
        self.isListOfMistakes = true
    }
}

/// What people read: one write per text, so that lines of several processes do not mix.
package enum Terminal {
    /// The error number of the first text that standard output did not take; 0: it took all.
    private static let outputError = Atomic<Int32>(0)

    /// - Throws: when something that was said went nowhere, as a full disk has it: whoever redirects a command relies on its end.
    static func checkOutput() throws(CommandFailure) {
        let code = Self.outputError.load(ordering: .relaxed)
        guard code == 0 else { throw CommandFailure("standard output: \(Configuration.describe(code))") }
    }

    package static func say(_ text: String) {
        Self.give(ReadableText.escaped(text, keepsLines: true))
    }

    /// What programs read, as it is.
    package static func give(_ text: String) {
        Self.write(Array("\(text)\n".utf8), to: STDOUT_FILENO)
    }

    package static func complain(of failure: CommandFailure) {
        guard failure.isListOfMistakes else { return Self.complain(failure.description) }
        Self.complain(mistakes: [failure.description])
    }

    /// Lines that begin with the name of a file.
    static func complain(mistakes: [String]) {
        let text = ReadableText.escaped(mistakes.joined(separator: "\n"), keepsLines: true)
        Self.write(Array("\(text)\n".utf8), to: STDERR_FILENO)
    }

    package static func complain(_ line: String) {
        let text = ReadableText.escaped(line, keepsLines: true)
        Self.write(Array("martlet: \(text)\n".utf8), to: STDERR_FILENO)
    }

    package static func write(_ bytes: [UInt8], to fileDescriptor: Int32) {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Glibc.write(fileDescriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    if fileDescriptor == STDOUT_FILENO { Self.outputError.store(errno, ordering: .relaxed) }
                    return
                }
                rest = rest.dropFirst(count)
            }
        }
    }
}
