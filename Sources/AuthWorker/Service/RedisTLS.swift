import TLS

/// How connections to the Redis of one source begin TLS. Each takes the context of its beginning and stays with that.
final class RedisTLS {
    private let configuration: TLSClientConfiguration
    /// Nil: the files could not be used yet.
    private var context: TLSClientContext?
    private var hasTakenWarnings = false

    init(_ configuration: TLSClientConfiguration) {
        self.configuration = configuration
    }

    /// What a connection begins with. Files that could not be used before are tried again.
    ///
    /// - Throws: what is wrong with the files, none of which could ever be used.
    func current() throws(TLSError) -> TLSClientContext {
        if let context = self.context { return context }
        return try self.read()
    }

    /// Reads the files again: what they hold counts for connections from now on.
    ///
    /// - Throws: what is wrong with them; what was read before stays in use.
    func reload() throws(TLSError) {
        _ = try self.read()
    }

    private func read() throws(TLSError) -> TLSClientContext {
        let context = try TLSClientContext(self.configuration)
        self.context = context
        self.hasTakenWarnings = false
        return context
    }

    /// What is doubtful about the files that are in use. Told once after each reading.
    func takeWarnings() -> [String] {
        guard !self.hasTakenWarnings, let context = self.context else { return [] }
        self.hasTakenWarnings = true
        return context.warnings.map { "\($0)" }
    }
}
