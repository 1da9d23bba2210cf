import AuthWorker
import Common
import TestSupport

extension RedisClient {
    /// Connected, and through the handshake.
    static func ready(_ settings: Settings) -> RedisClient {
        var client = RedisClient(settings: settings, random: SeededRandom(seed: 1), now: 0)
        client.advance(now: 0)
        client.connected(now: 0)
        client.feed("+OK\r\n+PONG\r\n", now: 0)
        client.output.clear()
        client.actions = []
        return client
    }

    mutating func feed(_ text: String, now: Instant) {
        Array(text.utf8).withUnsafeBytes { self.received($0, now: now) }
    }
}
