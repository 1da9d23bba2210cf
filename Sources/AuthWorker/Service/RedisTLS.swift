import TLS

/// How connections to the Redis of one source begin TLS. Each takes the context of its beginning and stays with that.
final class RedisTLS {
    private let configuration: TLSClientConfiguration
    private(set) var context: TLSClientContext

    init(_ configuration: TLSClientConfiguration) throws(TLSError) {
        self.configuration = configuration
        self.context = try TLSClientContext(configuration)
    }

    /// Reads the files again: what they hold counts for connections from now on.
    ///
    /// - Throws: what is wrong with them; what was read before stays in use.
    func reload() throws(TLSError) {
        self.context = try TLSClientContext(self.configuration)
    }
}
