/// How sessions may be resumed (RFC 8446 section 2.2, RFC 5077). Every process with the same secret opens the tickets of all the
/// others: nothing is stored and nothing is distributed.
package struct TicketConfiguration: Sendable {
    /// RFC 8446, section 4.6.1: a week at the most.
    package static let lifetimeSecondsMax: Int64 = 7 * 86_400

    /// At least 32 random bytes each. Tickets are made with the first; the others are secrets of earlier times, whose
    /// tickets are still taken.
    package var secrets: [[UInt8]]
    package var lifetimeSeconds: Int64
    /// Seconds since 1970; tests put in a clock of their own.
    package var now: @Sendable () -> Int64

    package init(secrets: [[UInt8]], lifetimeSeconds: Int64, now: @escaping @Sendable () -> Int64) {
        self.secrets = secrets
        self.lifetimeSeconds = lifetimeSeconds
        self.now = now
    }
}
