import Common

/// What let a session in, to be asked about again while it lives: the listener keeps no password.
struct SessionCredentials {
    /// The one in force: from CONNECT, or from the certificate.
    var clientIdentifier: [UInt8] = []
    /// Of the look-up that let it in; 0: there was none.
    var keyHash: UInt64 = 0
    /// Of other keys that it depends on: see `AuthConsulted`.
    var otherKeyHashes: [UInt64] = []
    var tag: [UInt8] = []
    var access: AccessRules?
    /// A worker is being asked.
    var isAsked = false
    /// A change was announced at a moment at which nobody could be asked.
    var mustAskAgain = false
    /// How often in a row nobody could say anything about it.
    var unknownCount = 0
    /// Until then it waits for being asked about again.
    var retryDue: Instant = 0
    /// Devices connect once and stay for weeks: without any sign of a change they are asked about from time to time.
    var revalidation: Instant = .max

    /// Some row may change that it depends on.
    var dependsOnRows: Bool { self.keyHash != 0 || !self.otherKeyHashes.isEmpty }
}
