import Common

extension InvalidationSubscriber {
    /// Whether the server is to be asked for `notify-keyspace-events`: because changes are told by events, or were.
    package var asksForKeyspaceEvents: Bool {
        self.method == .keyspace || self.method == .poll && self.hadKeyspaceEvents
    }

    /// What the server answered to `CONFIG GET notify-keyspace-events`, on another connection.
    ///
    /// - Returns: false: it does not say.
    package mutating func learnedKeyspaceEvents(_ reply: RedisReply, askedAt: Instant, now: Instant) -> Bool {
        // A question of before this connection says nothing about it.
        guard self.asksForKeyspaceEvents, askedAt >= self.activeSince else { return true }
        guard let flags = Self.keyspaceFlags(reply) else {
            // Errors that pass are nothing to go by.
            guard self.method == .keyspace, reply.errorText.map(Self.isLasting) ?? true else { return true }
            self.eventsSeenAt = .max
            return false
        }
        switch (self.method == .keyspace, Self.announcesChanges(flags)) {
        case (true, true): self.eventsSeenAt = askedAt
        case (true, false): self.failed(.refused("notify-keyspace-events is not KA any more"), now: now)
        case (false, true): _ = self.tryAgain(now: now)
        case (false, false): break
        }
        return true
    }

    static func keyspaceFlags(_ reply: RedisReply) -> [UInt8]? {
        guard case .array(let elements) = reply, elements.count == 2, case .bulk(let flags) = elements[1] else {
            return nil
        }
        return flags
    }

    /// Redis' manual, "Redis keyspace notifications": K for the channel named by the key, A for all events.
    static func announcesChanges(_ flags: [UInt8]) -> Bool {
        guard flags.contains(UInt8(ascii: "K")) else { return false }
        return flags.contains(UInt8(ascii: "A")) || "g$hxe".utf8.allSatisfy { flags.contains($0) }
    }
}
