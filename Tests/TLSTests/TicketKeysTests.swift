import Testing

@testable import TLS

@Suite struct TicketKeysTests {
    private static let hour: Int64 = 3600
    private static let secret = [UInt8](repeating: 7, count: 32)
    private static let other = [UInt8](repeating: 8, count: 32)

    private func makeKeys(_ secrets: [[UInt8]] = [secret], lifetimeHours: Int64 = 24) -> TicketKeys {
        TicketKeys(secrets: secrets, lifetimeSeconds: lifetimeHours * Self.hour)
    }

    @Test("processes with one secret have the same key, and a new one each hour")
    func shared() throws {
        var one = self.makeKeys()
        var two = self.makeKeys()
        let now = 500_000 * Self.hour + 17
        let sealing = one.sealingKey(now: now)
        let key = try #require(sealing)
        #expect(two.sealingKey(now: now) == key)
        #expect(two.openingKey(name: key.name, now: now)?.key == key)
        #expect(one.sealingKey(now: now + Self.hour) != key)
        #expect(key.cipherKey != key.macKey && key.cipherKey.count == 32 && key.macKey.count == 32)
    }

    @Test("a ticket is good for its lifetime, and is aging after half of it")
    func lifetime() throws {
        var keys = self.makeKeys()
        let now = 500_000 * Self.hour
        let sealing = keys.sealingKey(now: now)
        let name = try #require(sealing).name
        #expect(keys.openingKey(name: name, now: now + 11 * Self.hour)?.isAging == false)
        #expect(keys.openingKey(name: name, now: now + 13 * Self.hour)?.isAging == true)
        #expect(keys.openingKey(name: name, now: now + 24 * Self.hour) != nil)
        #expect(keys.openingKey(name: name, now: now + 27 * Self.hour) == nil)
    }

    @Test("another secret opens nothing, unless it is the previous one")
    func secrets() throws {
        var old = self.makeKeys([Self.other])
        let now = 500_000 * Self.hour
        let sealing = old.sealingKey(now: now)
        let name = try #require(sealing).name
        var strange = self.makeKeys()
        #expect(strange.openingKey(name: name, now: now) == nil)
        var rotated = self.makeKeys([Self.secret, Self.other])
        #expect(rotated.openingKey(name: name, now: now) != nil)
        #expect(rotated.sealingKey(now: now)?.name != name)
    }

    @Test("a host whose clock is up to an hour ahead is understood")
    func skew() throws {
        var ahead = self.makeKeys()
        var behind = self.makeKeys()
        let now = 500_000 * Self.hour + 30
        let sealing = ahead.sealingKey(now: now + Self.hour)
        let name = try #require(sealing).name
        #expect(behind.openingKey(name: name, now: now) != nil)
    }
}
