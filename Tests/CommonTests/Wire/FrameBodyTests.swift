import Common
import TestSupport
import Testing

/// Bodies of frames come from another process: what is not exactly a body must be refused, and nothing may crash.
@Suite struct FrameBodyTests {
    private func withBytes<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.withUnsafeBytes(body)
    }

    /// Each decoder with a body that it accepts: true when the bytes were accepted.
    private var decoders: [(name: String, body: [UInt8], accepts: ([UInt8]) -> Bool)] {
        [
            (
                "sessionOpen", WireSamples.body(WireSamples.bytes { WireSamples.open.encode(into: &$0, handle: 1) }),
                { self.withBytes($0) { SessionOpen.decode($0) != nil } }
            ),
            (
                "sessionAttach",
                WireSamples.body(WireSamples.bytes { WireSamples.attach.encode(into: &$0, handle: 1) }),
                { self.withBytes($0) { SessionAttach.decode($0) != nil } }
            ),
            (
                "authQuery", WireSamples.body(WireSamples.bytes { WireSamples.query.encode(into: &$0, request: 1) }),
                { self.withBytes($0) { AuthQuery.decode($0) != nil } }
            ),
            (
                "authVerdict",
                WireSamples.body(WireSamples.bytes { WireSamples.verdict.encode(into: &$0, request: 1) }),
                { self.withBytes($0) { AuthVerdict.decode($0) != nil } }
            ),
            (
                "sessionRules",
                WireSamples.body(
                    WireSamples.bytes { SessionRules.encode(WireSamples.access, into: &$0, handle: 1) }
                ),
                { self.withBytes($0) { SessionRules.decode($0) != nil } }
            ),
        ]
    }

    @Test("What is encoded is decoded as the same")
    func roundTrips() {
        for hasIdentity in [true, false] {
            var open = WireSamples.open
            var query = WireSamples.query
            if !hasIdentity {
                open.identity = nil
                open.userName = nil
                query.identity = nil
                query.userName = []
                query.password = nil
            } else {
                open.identity?.commonName = nil
            }
            let openBody = WireSamples.body(WireSamples.bytes { open.encode(into: &$0, handle: 7) })
            #expect(self.withBytes(openBody) { SessionOpen.decode($0) } == open)
            let queryBody = WireSamples.body(WireSamples.bytes { query.encode(into: &$0, request: 7) })
            #expect(self.withBytes(queryBody) { AuthQuery.decode($0) } == query)
        }
        let attachBody = WireSamples.body(WireSamples.bytes { WireSamples.attach.encode(into: &$0, handle: 7) })
        #expect(self.withBytes(attachBody) { SessionAttach.decode($0) } == WireSamples.attach)
        let accepted = WireSamples.body(WireSamples.bytes { WireSamples.accepted(into: &$0) })
        self.withBytes(accepted) { body in
            let decoded = SessionAccepted.decode(body)
            #expect(decoded?.sessionNumber == 0x0102_0304_0506_0708)
            #expect(decoded?.keepAliveSeconds == 0x0102)
            #expect(decoded.map { Array($0.clientIdentifier) } == Array("a".utf8))
            #expect(decoded.map { Array($0.connack) } == [0x20, 2, 0, 0])
        }
        for outcome in [AuthVerdict.Outcome.allow, .deny, .unknown] {
            for (reason, source) in zip(AuthVerdict.Reason.allCases, AuthVerdict.Source.allCases) {
                var verdict = WireSamples.verdict
                verdict.outcome = outcome
                verdict.reason = reason
                verdict.source = source
                let body = WireSamples.body(WireSamples.bytes { verdict.encode(into: &$0, request: 7) })
                #expect(self.withBytes(body) { AuthVerdict.decode($0) } == verdict)
            }
        }
    }

    @Test("A body that ends early or goes on too long is refused")
    func truncationsAndLeftovers() {
        for decoder in self.decoders {
            #expect(decoder.accepts(decoder.body), "\(decoder.name)")
            for count in 0..<decoder.body.count where decoder.accepts(Array(decoder.body.prefix(count))) {
                Issue.record("\(decoder.name): accepted with \(count) of \(decoder.body.count) bytes")
            }
            #expect(!decoder.accepts(decoder.body + [0]), "\(decoder.name)")
            #expect(!decoder.accepts(decoder.body + decoder.body), "\(decoder.name)")
        }
    }

    @Test("Changed and random bytes never crash a decoder")
    func mutations() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var accepted = 0
        for decoder in self.decoders {
            for _ in 0..<3000 {
                var body = decoder.body
                for _ in 0...Int.random(in: 0..<4, using: &random) {
                    let index = Int.random(in: 0..<body.count, using: &random)
                    body[index] = random.oneIn(3) ? 0xFF : UInt8.random(in: 0...255, using: &random)
                }
                if random.oneIn(4) { body = Array(body.prefix(Int.random(in: 0...body.count, using: &random))) }
                if decoder.accepts(body) { accepted += 1 }
                _ = decoder.accepts(random.bytes(Int.random(in: 0...64, using: &random)))
            }
        }
        // A change inside a text is none of the decoder's business.
        #expect(accepted > 0, "seed \(seed)")
    }

    @Test("Small bodies: closed, accepted, ended")
    func smallBodies() throws {
        for broken: [UInt8] in [[], [1]] {
            #expect(self.withBytes(broken) { SessionAccepted.decode($0) } == nil)
        }
        self.withBytes([1, 0, 3]) { #expect(SessionResumed.decode($0) == nil) }
        self.withBytes([1, 0, 3, 2]) { #expect(SessionResumed.decode($0)?.awaitingPubrel == [1, 0x0203]) }
        self.withBytes([0x8E, 0xE0, 0]) { body in
            let decoded = SessionEnd.decode(body)
            #expect(decoded?.reason == .sessionTakenOver)
            #expect(decoded.map { [UInt8]($0.packet) } == [0xE0, 0])
        }
        for broken: [UInt8] in [[], [0x05], [0xFF, 0xE0, 0]] {
            #expect(self.withBytes(broken) { SessionEnd.decode($0) } == nil)
        }
        #expect(SessionCloseCause.allCases.map(\.rawValue) == [1, 2, 3, 4, 5, 6])
    }

    @Test("The end of a connection, from releases that do not say since when, and from later ones")
    func closed() {
        for (body, age) in [([2], 0), ([2, 7], 0), ([2, 1, 2, 0, 0, 0, 0, 0, 0], 0x201)] as [([UInt8], UInt64)] {
            let decoded = self.withBytes(body) { SessionCloseCause.decode($0) }
            #expect(decoded?.cause == .keepAliveTimeout && decoded?.age == age)
        }
        for broken: [UInt8] in [[], [7], [0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            #expect(self.withBytes(broken) { SessionCloseCause.decode($0) } == nil)
        }
        var buffer = ByteBuffer()
        SessionCloseCause.keepAliveTimeout.encode(into: &buffer, handle: 3, age: 0x201)
        #expect(Array(buffer.array.suffix(9)) == [2, 1, 2, 0, 0, 0, 0, 0, 0])
    }

    @Test("Changed keys: every whole number of them, and nothing else")
    func changedKeys() {
        for changed in [AuthChanged(all: true), AuthChanged(all: false, keyHashes: [1, UInt64.max, 7])] {
            let body = WireSamples.body(WireSamples.bytes { changed.encode(into: &$0) })
            #expect(self.withBytes(body) { AuthChanged.decode($0) } == changed)
            for count in 0..<body.count {
                let isWhole = count > 0 && (count - 1) % 8 == 0
                #expect(self.withBytes(Array(body.prefix(count))) { AuthChanged.decode($0) != nil } == isWhole)
            }
        }
        #expect(self.withBytes([2]) { AuthChanged.decode($0) } == nil)
    }

    @Test("Rules cut off at the limit become a deny for what they would have said")
    func rulesCutOff() throws {
        let rule = AccessRule(permission: .deny, actions: .publish, filter: Array("a".utf8))
        for (count, noMatch) in [
            (Limits.accessRulesMax, AccessRule.Permission.allow), (Limits.accessRulesMax + 1, .deny), (70_000, .deny),
        ] {
            var verdict = WireSamples.verdict
            verdict.access = AccessRules(rules: Array(repeating: rule, count: count), noMatch: .allow)
            let body = WireSamples.body(WireSamples.bytes { verdict.encode(into: &$0, request: 1) })
            let decoded = try #require(self.withBytes(body) { AuthVerdict.decode($0) })
            #expect(decoded.access.rules.count == min(count, Limits.accessRulesMax))
            #expect(decoded.access.noMatch == noMatch)
        }
    }

    @Test("Rules that are too long for a frame are cut off in the same way; they ended the process once")
    func longRulesCutOff() throws {
        let long = AccessRule(permission: .deny, actions: .publish, filter: [UInt8](repeating: 0x61, count: 65_535))
        for (count, kept, noMatch) in [(16, 16, AccessRule.Permission.allow), (17, 16, .deny), (4096, 16, .deny)] {
            var verdict = WireSamples.verdict
            verdict.access = AccessRules(rules: Array(repeating: long, count: count), noMatch: .allow)
            let body = WireSamples.body(WireSamples.bytes { verdict.encode(into: &$0, request: 1) })
            let decoded = try #require(self.withBytes(body) { AuthVerdict.decode($0) })
            #expect(decoded.access.rules.count == kept && decoded.access.noMatch == noMatch)
        }
    }

    @Test("A certificate with too many alternative names is cut off, not refused")
    func alternativeNamesCutOff() throws {
        var query = WireSamples.query
        let name = CertificateIdentity.AlternativeName(kind: .uri, value: Array("urn:x".utf8))
        query.identity?.alternativeNames = Array(repeating: name, count: 70_000)
        let body = WireSamples.body(WireSamples.bytes { query.encode(into: &$0, request: 1) })
        let decoded = try #require(self.withBytes(body) { AuthQuery.decode($0) })
        #expect(decoded.identity?.alternativeNames.count == Limits.alternativeNamesMax)
    }

    @Test("Multicast: entries, packet and the place of the packet id")
    func multicast() throws {
        let publish: [UInt8] = [0x32, 8, 0, 1, 0x61, 0, 0, 1, 2, 3]
        let body = WireSamples.bytes { buffer in
            buffer.writeLittleEndian(UInt32(5))
            buffer.writeLittleEndian(UInt32(2))
            buffer.writeLittleEndian(UInt64(0x1_0000_0002))
            buffer.writeLittleEndian(UInt16(0x1234))
            buffer.writeLittleEndian(UInt64(7))
            buffer.writeLittleEndian(UInt16(9))
            buffer.write(publish)
        }
        self.withBytes(body) { memory in
            guard let frame = MulticastFrame(memory) else {
                Issue.record("a correct frame was refused")
                return
            }
            #expect(frame.count == 2)
            #expect(frame.packetIdentifierOffset == 5)
            #expect(frame.handle(at: 0) == 0x1_0000_0002)
            #expect(frame.packetIdentifier(at: 0) == 0x1234)
            #expect(frame.handle(at: 1) == 7)
            #expect(frame.packetIdentifier(at: 1) == 9)
            #expect([UInt8](frame.packet) == publish)
        }
    }

    @Test("Multicast with a lying count or offset is refused")
    func multicastLies() {
        func isRefused(offset: UInt32, count: UInt32, rest: Int) -> Bool {
            let body = WireSamples.bytes { buffer in
                buffer.writeLittleEndian(offset)
                buffer.writeLittleEndian(count)
                buffer.write([UInt8](repeating: 0, count: rest))
            }
            return self.withBytes(body) { MulticastFrame($0) == nil }
        }
        #expect(!isRefused(offset: 0, count: 1, rest: 12))
        #expect(!isRefused(offset: 5, count: 1, rest: 17))
        #expect(isRefused(offset: 6, count: 1, rest: 17))
        #expect(isRefused(offset: UInt32.max, count: 1, rest: 17))
        #expect(isRefused(offset: 0, count: 2, rest: 19))
        #expect(isRefused(offset: 0, count: UInt32.max, rest: 40))
        for count in 0..<8 {
            #expect(self.withBytes([UInt8](repeating: 0, count: count)) { MulticastFrame($0) == nil })
        }
    }

    @Test("Credit: entries in order; a body of the wrong length is refused")
    func credit() {
        let sessions: [(handle: UInt64, bytes: UInt32)] = [(1, 100), (UInt64.max, UInt32.max)]
        for kind in [FrameKind.deliveryCredit, .publishCredit] {
            let bytes = WireSamples.bytes {
                CreditFrame.encode(kind, into: &$0, linkBytes: 77, sessions: sessions[...])
            }
            #expect(WireSamples.frames(bytes)?.map(\.kind) == [kind.rawValue])
            self.withBytes(WireSamples.body(bytes)) { memory in
                let frame = CreditFrame(memory)
                #expect(frame?.linkBytes == 77)
                #expect(frame?.count == 2)
                #expect(frame?.handle(at: 1) == UInt64.max)
                #expect(frame?.bytes(at: 0) == 100)
                #expect(frame?.bytes(at: 1) == UInt32.max)
                for count in 0..<memory.count where (count - 4) % CreditFrame.entryBytes != 0 || count < 4 {
                    #expect(CreditFrame(UnsafeRawBufferPointer(rebasing: memory[..<count])) == nil)
                }
            }
        }
        let empty = WireSamples.bytes { CreditFrame.encode(.publishCredit, into: &$0, linkBytes: 1, sessions: []) }
        #expect(self.withBytes(WireSamples.body(empty)) { CreditFrame($0)?.count } == 0)
    }
}
