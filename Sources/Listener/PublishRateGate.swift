import Common

/// How much one client may still publish, in messages and in bytes.
struct PublishRateGate {
    let exceeded: Configuration.Offer.PublishRate.Exceeded
    private var messages: TokenBucket?
    private var bytes: TokenBucket?

    /// Nil where nothing is limited.
    init?(_ rate: Configuration.Offer.PublishRate) {
        self.messages = TokenBucket(perSecond: rate.messagesPerSecond, burstNanoseconds: rate.burstNanoseconds)
        self.bytes = TokenBucket(perSecond: rate.bytesPerSecond, burstNanoseconds: rate.burstNanoseconds)
        self.exceeded = rate.exceeded
        if self.messages == nil, self.bytes == nil { return nil }
    }

    /// Nil: a PUBLISH may pass now. Otherwise when it may.
    func blockedUntil(now: Instant) -> Instant? {
        let messages = self.messages?.blockedUntil(now: now)
        let bytes = self.bytes?.blockedUntil(now: now)
        guard let messages else { return bytes }
        return max(messages, bytes ?? 0)
    }

    mutating func passed(packetBytes: Int, now: Instant) {
        self.messages?.take(1, now: now)
        self.bytes?.take(packetBytes, now: now)
    }
}
