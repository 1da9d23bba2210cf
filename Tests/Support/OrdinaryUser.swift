import Glibc

/// One to whom the permissions of files apply, also where the tests run as root.
package enum OrdinaryUser {
    private static let id: uid_t = 65534

    /// - Parameters:
    ///   - folder: becomes this user's.
    ///   - body: what it does on this thread, and on those that it starts, it does as this user where files are concerned: setfsuid(2).
    package static func run(owning folder: String, _ body: () throws -> Void) throws {
        guard geteuid() == 0 else { return try body() }
        guard chown(folder, Self.id, Self.id) == 0 else { throw ProcessError(description: "chown: errno \(errno)") }
        guard let symbol = dlsym(nil, "setfsuid") else { throw ProcessError(description: "there is no setfsuid") }
        // The header that declares it is not in the C library's module.
        let setFileUser = unsafeBitCast(symbol, to: (@convention(c) (uid_t) -> Int32).self)
        _ = setFileUser(Self.id)
        defer { _ = setFileUser(0) }
        try body()
    }
}
