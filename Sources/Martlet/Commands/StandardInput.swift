import Glibc

/// What people or scripts put into a command.
enum StandardInput {
    private static let lineBytesMax = 64 << 10

    /// One line without its end, byte by byte as it is: a password need not be UTF-8. Nil: there is none.
    static func line() -> [UInt8]? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.count < Self.lineBytesMax {
            let count = read(STDIN_FILENO, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1 else {
                if line.isEmpty { return nil }
                break
            }
            if byte == UInt8(ascii: "\n") { break }
            line.append(byte)
        }
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        return line
    }
}

/// What was typed.
package enum CommandLineText {
    /// Options for what CONNECT says, which may be empty.
    private static let mayBeEmpty: Set = ["--password=", "--user=", "--client-id="]

    /// With `--password=` as an option and an empty value, which ArgumentParser takes for an option without one.
    package static func split(_ arguments: [String]) -> [String] {
        let options = arguments.prefix { $0 != "--" }
        let split = options.flatMap { Self.mayBeEmpty.contains($0) ? [String($0.dropLast()), ""] : [$0] }
        return split + arguments[options.endIndex...]
    }

    /// Ends the process, with a sentence, where an argument is no text: its bytes would become other ones without a word.
    package static func require() {
        let arguments = CommandLine.unsafeArgv
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = arguments[index], String(validatingCString: argument) == nil else { continue }
            Terminal.complain(
                "argument \(index), \(String(cString: argument)), is not UTF-8; is the terminal set to another encoding? Names of "
                    + "devices that are other bytes come in by martlet device import-csv, passwords by --password-stdin"
            )
            exit(EX_USAGE)
        }
    }
}
