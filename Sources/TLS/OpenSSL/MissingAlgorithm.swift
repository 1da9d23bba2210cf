import Glibc

/// What OpenSSL has by itself, and on this machine has not: its configuration says so.
package enum MissingAlgorithm {
    /// A sentence that says of `name` ("SHA-256") where to look.
    package static func text(_ name: String, isInLegacyProvider: Bool = false) -> String {
        let legacy = isInLegacyProvider ? ", which is in its legacy provider or not built in" : ""
        return
            "OpenSSL on this machine has no \(name)\(legacy); look in its configuration (openssl.cnf, or the file that OPENSSL_CONF names) "
            + "at the providers that are activated and at default_properties; `openssl list -providers` shows which work"
    }

    /// Ends the process, which cannot do without.
    static func end(_ name: String) -> Never {
        let line = Array("martlet: cannot go on: \(self.text(name))\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        // Not exit(3): other threads may be at work.
        _exit(1)
    }
}
