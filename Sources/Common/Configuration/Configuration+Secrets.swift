// Files with secrets that the configuration names, as roles and `check()` read them.
extension Configuration {
    private static let passwordFileBytesMax = 4096

    /// The secret of a listener's session tickets. One that every user of the host may read is refused: whoever has it can make
    /// tickets that let him in as any device, and read what clients with tickets have sent. So can whoever guesses it: one of zeros, say, that
    /// a program has reserved and never filled.
    ///
    /// - Throws: why it cannot be used, as the end of a sentence that begins with the file's name.
    public static func readTicketSecret(_ path: String) throws(ValueError) -> [UInt8] {
        let range = Listener.TLS.ticketSecretBytes
        let bytes = try Self.readFile(path, bytesMax: range.upperBound, isKeptFromOthers: true)
        guard bytes.count >= range.lowerBound else {
            throw ValueError(
                "has \(bytes.count) bytes, at least \(range.lowerBound) random ones are needed; "
                    + "make them with openssl rand -out \(path) 48"
            )
        }
        guard bytes.contains(where: { $0 != bytes[0] }) else {
            let value = bytes[0] == 0 ? "zeros" : "the same byte again and again"
            throw ValueError(
                "holds \(value), which anybody can guess; make random bytes with openssl rand -out \(path) 48"
            )
        }
        return bytes
    }

    /// The password that is the first line of a file.
    ///
    /// - Throws: why there is none, as the end of a sentence that begins with the file's name.
    public static func readPassword(_ path: String) throws(ValueError) -> [UInt8] {
        let bytes = try Self.readFile(path, bytesMax: Self.passwordFileBytesMax)
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty else { throw ValueError("has an empty first line; write the password there") }
        return Array(line)
    }
}
