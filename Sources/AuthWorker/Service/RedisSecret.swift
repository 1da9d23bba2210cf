import Common

/// The password of connections to one server: read again for each of them, so that a new one needs no restart.
struct RedisSecret {
    private let file: String?
    private var hasPassword: Bool

    /// - Parameters:
    ///   - file: nil: there is no password.
    ///   - isKnown: the file was read before; if it cannot be read any more, what it said then goes on counting.
    init(file: String?, isKnown: Bool) {
        self.file = file
        self.hasPassword = isKnown
    }

    /// Another password for the next connection; nil: the former one stays.
    ///
    /// - Throws: why there is none. A connection without it would be refused by Redis with a reason that says less.
    mutating func next() throws(RedisFailure) -> [UInt8]? {
        guard let file = self.file else { return nil }
        do throws(ConfigurationMistake) {
            let password = try RedisSourceSettings.firstLine(file)
            self.hasPassword = true
            return password
        } catch {
            guard self.hasPassword else { throw .connect(error.description) }
            return nil
        }
    }
}
