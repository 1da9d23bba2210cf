/// The keys that tickets are sealed with: a new one each hour, derived from the secret (HKDF, RFC 5869) and the hour, so that all
/// processes and hosts with the secret have them without talking to each other.
struct TicketKeys {
    struct Key: Equatable {
        /// Travels with the ticket and says which key it is.
        var name: [UInt8]
        var cipherKey: [UInt8]
        var macKey: [UInt8]
    }

    static let nameBytes = 16
    private static let secondsPerEpoch: Int64 = 3600

    private let pseudorandomKeys: [[UInt8]]
    private let lifetimeSeconds: Int64
    /// By name, for `epoch` and the ones before it within the lifetime.
    private var keys: [[UInt8]: (key: Key, epoch: Int64)] = [:]
    private var epoch: Int64 = .min
    private var current: Key?

    init(secrets: [[UInt8]], lifetimeSeconds: Int64) {
        let salt = Array("martlet session tickets 1".utf8)
        self.pseudorandomKeys = secrets.map { HMAC.sha256(key: salt, message: $0) }
        self.lifetimeSeconds = lifetimeSeconds
    }

    /// The key for new tickets.
    mutating func sealingKey(now: Int64) -> Key? {
        self.refresh(now)
        return self.current
    }

    /// The key of a ticket, and whether its holder should get a new one: after half of the lifetime. Nil when it is too old, or
    /// was made with another secret.
    mutating func openingKey(name: [UInt8], now: Int64) -> (key: Key, isAging: Bool)? {
        self.refresh(now)
        guard let (key, epoch) = self.keys[name] else { return nil }
        let age = now - epoch * Self.secondsPerEpoch
        return (key, age > self.lifetimeSeconds / 2)
    }

    private mutating func refresh(_ now: Int64) {
        let epoch = now / Self.secondsPerEpoch
        guard epoch != self.epoch else { return }
        self.epoch = epoch
        self.keys.removeAll(keepingCapacity: true)
        let past = self.lifetimeSeconds / Self.secondsPerEpoch + 1
        for (index, secret) in self.pseudorandomKeys.enumerated() {
            // One hour ahead: another host's clock may be.
            for candidate in (epoch - past)...(epoch + 1) {
                let key = Self.derive(secret, epoch: candidate)
                self.keys[key.name] = (key, candidate)
                if index == 0, candidate == epoch { self.current = key }
            }
        }
    }

    /// HKDF-Expand to 96 bytes; 80 are used.
    private static func derive(_ pseudorandomKey: [UInt8], epoch: Int64) -> Key {
        let info = Array("ticket key \(epoch)".utf8)
        var output: [UInt8] = []
        var block: [UInt8] = []
        for counter in UInt8(1)...3 {
            block = HMAC.sha256(key: pseudorandomKey, message: block + info + [counter])
            output += block
        }
        return Key(
            name: Array(output[..<nameBytes]),
            cipherKey: Array(output[nameBytes..<nameBytes + 32]),
            macKey: Array(output[nameBytes + 32..<nameBytes + 64])
        )
    }
}
