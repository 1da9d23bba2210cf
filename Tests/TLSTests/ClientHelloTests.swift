import Common
import TestSupport
import Testing

@testable import TLS

/// What is known of a client before its handshake.
@Suite struct ClientHelloTests {
    private func twoBytes(_ count: Int) -> [UInt8] { [UInt8(count >> 8), UInt8(count & 0xFF)] }

    private func field(_ bytes: [UInt8]) -> [UInt8] { self.twoBytes(bytes.count) + bytes }

    private func hello(_ extensions: [(type: Int, value: [UInt8])]) -> [UInt8] {
        let list = extensions.flatMap { self.twoBytes($0.type) + self.field($0.value) }
        let body =
            [3, 3] + [UInt8](repeating: 7, count: 32) + [2, 1, 2] + self.field([0x13, 1]) + [1, 0] + self.field(list)
        let handshake = [1, 0] + self.field(body)
        return [22, 3, 1] + self.field(handshake)
    }

    /// "pre_shared_key" with two identities and their binders.
    private func offer(_ ticket: [UInt8]) -> [UInt8] {
        let identities = self.field(ticket) + [0, 0, 0, 9] + self.field([1, 2]) + [0, 0, 0, 0]
        return self.field(identities) + self.field([32] + [UInt8](repeating: 5, count: 32))
    }

    private func ticket(in bytes: [UInt8]) -> [UInt8]? {
        bytes.withUnsafeBytes { ClientHello.ticket(in: $0).map { Array($0) } }
    }

    @Test func aTicketIsFoundWhereEachVersionHasIt() {
        let ticket = [UInt8](repeating: 3, count: 200)
        #expect(self.ticket(in: self.hello([(0, [1, 2, 3]), (35, ticket), (43, [2, 3, 4])])) == ticket)
        #expect(self.ticket(in: self.hello([(35, []), (43, [2, 3, 4]), (41, self.offer(ticket))])) == ticket)
        #expect(self.ticket(in: self.hello([(35, []), (43, [2, 3, 4])])) == nil)
        #expect(self.ticket(in: self.hello([])) == nil)
        // What follows the record is the next one's business.
        #expect(self.ticket(in: self.hello([(35, ticket)]) + [20, 3, 3]) == ticket)
    }

    @Test func whatIsCutShortOrDamagedShowsNoTicketAndHarmsNobody() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let whole = self.hello([(10, [1]), (35, []), (41, self.offer([UInt8](repeating: 3, count: 100)))])
        for count in 0..<whole.count { #expect(self.ticket(in: Array(whole[..<count])) == nil, "\(count) bytes") }
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let found = self.ticket(in: bytes) { #expect(found.count < bytes.count, "seed \(seed)") }
            _ = self.ticket(in: random.bytes(Int.random(in: 0...100, using: &random)))
        }
    }

    @Test func howLongTheFirstRecordIsShowsInItsFirstBytes() {
        func bytes(_ beginning: [UInt8]) -> Int { beginning.withUnsafeBytes { ClientHello.firstRecordBytes($0) } }
        let whole = self.hello([(35, [UInt8](repeating: 3, count: 300))])
        for count in 1..<5 { #expect(bytes(Array(whole[..<count])) == 5) }
        for count in 5...whole.count { #expect(bytes(Array(whole[..<count])) == whole.count) }
        #expect(bytes(whole + whole) == whole.count)
        // Nothing more is expected of what is no TLS, or has a length that none may have.
        for other in [[0x10, 0], [0x16, 2], [0x16, 3, 1, 0x40, 1], Array("GET / HTTP/1.1".utf8)] as [[UInt8]] {
            #expect(bytes(other) == 5)
        }
    }

    @Test func onlyATicketThatWasMadeWithOurKeyIsOurs() throws {
        let now: Int64 = 1_800_000_000
        let secret = [UInt8](repeating: 9, count: 32)
        let configuration = TicketConfiguration(secrets: [secret], lifetimeSeconds: 86_400, now: { now })
        let issuer = TicketIssuer(configuration, needsCertificate: true, revocation: nil)
        var keys = TicketKeys(secrets: [secret], lifetimeSeconds: 86_400)
        let made = keys.sealingKey(now: now)
        let key = try #require(made)
        let sealed = key.name + [UInt8](repeating: 1, count: 16 + 64)
        let ticket = sealed + HMAC.sha256(key: key.macKey, message: sealed)
        func isOurs(_ ticket: [UInt8]) -> Bool { ticket.withUnsafeBytes { issuer.isOurs($0) } }
        #expect(isOurs(ticket))
        for place in ticket.indices {
            var damaged = ticket
            damaged[place] ^= 1
            #expect(!isOurs(damaged), "byte \(place)")
        }
        for count in 0..<ticket.count { #expect(!isOurs(Array(ticket[..<count]))) }
    }
}
