import Common

/// A device, application or user that the embedded source knows.
package struct Device: Equatable, Sendable {
    /// What a look-up asks for: the common name, unless the configuration says otherwise.
    package var name: [UInt8]
    /// PBKDF2 of the password in hexadecimal digits; nil: none is needed.
    package var secret: [UInt8]?
    package var salt: [UInt8]?
    package var isSuperuser = false
    /// It is known, and not let in.
    package var isDisabled = false
    package var note = ""
    /// What it may do beside what the rules say: filters and accesses, as in a hash of Redis.
    package var access: [AccessRow] = []

    package init(name: [UInt8]) {
        self.name = name
    }
}
