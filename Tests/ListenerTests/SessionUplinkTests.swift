import Common
import TestSupport
import Testing

@testable import Listener

@Suite struct SessionUplinkTests {
    private struct Outcome {
        var progress = SessionUplink.Progress()
        var frames: [PlainFrame] = []
        var replies: [UInt8] = []
    }

    private func forward(_ uplink: inout SessionUplink, _ bytes: [UInt8], linkCredit: inout Int) throws -> Outcome {
        var link = ByteBuffer()
        var replies = ByteBuffer()
        var outcome = Outcome()
        outcome.progress = bytes.withUnsafeBytes {
            uplink.forward($0, handle: 7, linkCredit: &linkCredit, link: &link, replies: &replies)
        }
        outcome.frames = try PlainFrame.all(in: link.array)
        outcome.replies = replies.array
        return outcome
    }

    private func forward(_ uplink: inout SessionUplink, _ bytes: [UInt8]) throws -> Outcome {
        var linkCredit = Int(UInt32.max)
        return try self.forward(&uplink, bytes, linkCredit: &linkCredit)
    }

    private func makeUplink(
        _ version: ProtocolVersion = .v5_0,
        credit: Int = 1 << 30,
        maximum: Int = 1 << 20
    ) -> SessionUplink {
        SessionUplink(version: version, credit: credit, maximumPacketBytes: maximum)
    }

    private func publish(_ payloadBytes: Int, qos: QoS = .atLeastOnce) -> [UInt8] {
        Packet.publish(
            PublishPacket(
                qos: qos,
                topic: Array("a/b".utf8),
                packetIdentifier: qos == .atMostOnce ? 0 : 1,
                payload: [UInt8](repeating: 0x55, count: payloadBytes)
            )
        ).bytes(.v5_0)
    }

    private let pingreq: [UInt8] = [0xC0, 0x00]

    // MARK: Against a naive splitter

    private struct Piece {
        var range: Range<Int>
        var type: PacketType
    }

    /// A client's packets, some large, without DISCONNECT.
    private func randomStream(_ random: inout SeededRandom) -> (bytes: [UInt8], pieces: [Piece]) {
        var generator = PacketGenerator(seed: random.next())
        var bytes: [UInt8] = []
        var pieces: [Piece] = []
        for _ in 0..<Int.random(in: 1...25, using: &random) {
            let packet: [UInt8]
            switch Int.random(in: 0..<8, using: &random) {
            case 0: packet = self.pingreq
            case 1: packet = generator.packet(.subscribe, .v5_0).bytes(.v5_0)
            case 2: packet = generator.packet(.puback, .v5_0).bytes(.v5_0)
            case 3: packet = self.publish(Int.random(in: 65_400...65_700, using: &random))
            case 4: packet = self.publish(Int.random(in: 0...300_000, using: &random))
            default: packet = self.publish(Int.random(in: 0...400, using: &random), qos: .atMostOnce)
            }
            let type = PacketType(rawValue: packet[0] >> 4) ?? .auth
            pieces.append(Piece(range: bytes.count..<bytes.count + packet.count, type: type))
            bytes += packet
        }
        return (bytes, pieces)
    }

    /// What was forwarded so far, as the stream, the credit and the frames must have it.
    private struct Ledger {
        var position = 0
        var forwarded: [UInt8] = []
        var replies = 0
        var granted = 0
        var linkGranted = 0

        /// Bytes before `position` of packets that use credit.
        func creditBytes(_ pieces: [Piece]) -> Int {
            pieces.filter(\.type.usesCredit)
                .reduce(0) { $0 + max(0, min(self.position, $1.range.upperBound) - $1.range.lowerBound) }
        }
    }

    private func check(
        _ outcome: Outcome,
        _ ledger: inout Ledger,
        _ pieces: [Piece],
        available: Int,
        credit: Int,
        linkCredit: Int
    ) -> String? {
        let boundaries = Set(pieces.map(\.range.upperBound))
        let start = ledger.position
        ledger.position += outcome.progress.consumed
        ledger.replies += outcome.replies.count / 2
        guard outcome.replies.elementsEqual(Array(repeating: [0xD0, 0x00], count: outcome.replies.count / 2).joined())
        else { return "replies are not PINGRESP" }
        // Frames cover the consumed bytes but the PINGREQs; each ends at a packet's end unless it says that it continues.
        var offset = start
        for frame in outcome.frames {
            guard frame.kind == FrameKind.sessionPackets.rawValue, frame.handle == 7 else { return "wrong frame" }
            guard !frame.body.isEmpty, frame.body.count <= Limits.packetPartBytes else { return "wrong frame length" }
            while let ping = pieces.first(where: { $0.range.lowerBound == offset && $0.type == .pingreq }) {
                offset = ping.range.upperBound
            }
            offset += frame.body.count
            let continues = frame.flags & FrameFlags.packetContinues != 0
            guard continues == !boundaries.contains(offset) else { return "continue flag \(continues) at \(offset)" }
            ledger.forwarded += frame.body
        }
        let used = ledger.creditBytes(pieces)
        guard ledger.granted - used == credit else { return "session credit is not granted less what was sent" }
        guard ledger.linkGranted - used == linkCredit else { return "link credit is not granted less what was sent" }
        guard min(credit, linkCredit) > -Limits.packetPartBytes else { return "overdrawn by more than a packet" }
        // Blocked exactly when something of a packet that uses credit could go and there is no credit.
        let next = pieces.first { $0.range.upperBound > ledger.position }
        let isReady: Bool
        if let next, next.type.usesCredit, available > ledger.position {
            let isWhole = next.range.upperBound <= available
            let isLarge = next.range.count > Limits.packetPartBytes
            let headerBytes = 2 + (next.range.count > 129 ? 1 : 0) + (next.range.count > 16_386 ? 1 : 0)
            let isInside = ledger.position > next.range.lowerBound
            isReady = isInside || isWhole || (isLarge && available - next.range.lowerBound >= headerBytes)
        } else {
            isReady = false
        }
        let mayBlock = isReady && min(credit, linkCredit) <= 0
        guard outcome.progress.isBlocked == mayBlock else { return "blocked: \(outcome.progress.isBlocked)" }
        return outcome.progress.end.map { "ended: \($0)" }
    }

    @Test("Random streams, cut anywhere, with credit that comes late: what a naive splitter forwards")
    func model() throws {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<60 {
            let (stream, pieces) = self.randomStream(&random)
            let isGenerous = random.oneIn(3)
            var ledger = Ledger()
            ledger.granted = isGenerous ? 1 << 30 : Int.random(in: 1...100_000, using: &random)
            ledger.linkGranted = isGenerous ? 1 << 30 : Int.random(in: 1...100_000, using: &random)
            var linkCredit = ledger.linkGranted
            var uplink = self.makeUplink(credit: ledger.granted)
            var available = 0
            while ledger.position < stream.count {
                let arriving = random.oneIn(3) ? 3 : 150_000
                available = min(stream.count, available + Int.random(in: 0...arriving, using: &random))
                let outcome = try self.forward(
                    &uplink,
                    Array(stream[ledger.position..<available]),
                    linkCredit: &linkCredit
                )
                let problem = self.check(
                    outcome,
                    &ledger,
                    pieces,
                    available: available,
                    credit: uplink.credit,
                    linkCredit: linkCredit
                )
                if let problem {
                    Issue.record("\(problem), at \(ledger.position) of \(stream.count), seed \(seed)")
                    return
                }
                if outcome.progress.isBlocked || random.oneIn(10) {
                    let grant = UInt32.random(in: 0...80_000, using: &random)
                    uplink.grant(grant)
                    ledger.granted += Int(grant)
                    let linkGrant = Int.random(in: 0...80_000, using: &random)
                    linkCredit += linkGrant
                    ledger.linkGranted += linkGrant
                }
            }
            let expected = pieces.filter { $0.type != .pingreq }.flatMap { stream[$0.range] }
            #expect(ledger.forwarded == expected, "seed \(seed)")
            #expect(ledger.replies == pieces.count { $0.type == .pingreq }, "seed \(seed)")
            #expect(uplink.bytesInsidePacket == 0)
        }
    }

    // MARK: One by one

    @Test("All packets of one read travel in one frame; PINGREQ is answered and does not")
    func oneFrame() throws {
        var uplink = self.makeUplink()
        let outcome = try self.forward(&uplink, self.publish(10) + self.publish(20) + self.pingreq)
        #expect(outcome.frames.map(\.body) == [self.publish(10) + self.publish(20)])
        #expect(outcome.replies == [0xD0, 0x00])
        #expect(
            outcome.progress.consumed == self.publish(10).count + self.publish(20).count + 2
        )
    }

    @Test("Without credit a PUBLISH stays; acknowledgements before it go, those behind it wait")
    func blocked() throws {
        var uplink = self.makeUplink(credit: 0)
        let puback: [UInt8] = [0x40, 2, 0, 1]
        let outcome = try self.forward(&uplink, puback + self.publish(10) + puback)
        #expect(outcome.frames.map(\.body) == [puback])
        #expect(outcome.progress.consumed == puback.count)
        #expect(outcome.progress.isBlocked)
        uplink.grant(1)
        let rest = try self.forward(&uplink, self.publish(10) + puback)
        #expect(rest.frames.map(\.body) == [self.publish(10) + puback])
        #expect(!rest.progress.isBlocked)
        #expect(uplink.credit == 1 - self.publish(10).count)
    }

    @Test("Without credit a SUBSCRIBE stays too: a client that floods the router with them is held back")
    func blockedSubscribe() throws {
        var uplink = self.makeUplink(credit: 0)
        let subscribe: [UInt8] = [0x82, 6, 0, 1, 0, 1, 0x61, 0]
        #expect(try self.forward(&uplink, subscribe).progress == SessionUplink.Progress(consumed: 0, isBlocked: true))
        uplink.grant(1)
        #expect(try self.forward(&uplink, subscribe).frames.map(\.body) == [subscribe])
        #expect(uplink.credit == 1 - subscribe.count)
    }

    @Test("PUBREL, which needs no credit, waits too while as much as may be has no answer: memory for it has a bound")
    func blockedPubrel() throws {
        let attach = AttachState(sessionNumber: 1, clientIdentifier: [1], version: .v3_1_1, takesAliases: false)
        var uplink = SessionUplink(version: .v3_1_1, credit: 0, maximumPacketBytes: 1 << 20, attach: attach)
        let (pubrel, pubcomp): ([UInt8], [UInt8]) = ([0x62, 2, 0xFF, 0xFF], [0x70, 2, 0xFF, 0xFF])
        let flood = Array(repeatElement(pubrel, count: Limits.unansweredPacketsMax + 10).joined())
        let outcome = try self.forward(&uplink, flood)
        #expect(outcome.progress.isBlocked)
        #expect(outcome.progress.consumed == Limits.unansweredPacketsMax * pubrel.count)
        pubcomp.withUnsafeBytes { attach.passedDown($0) }
        let rest = try self.forward(&uplink, pubrel + pubrel)
        #expect(
            rest.progress
                == SessionUplink.Progress(consumed: pubrel.count, isBlocked: true, isUrgent: true, endsPacket: true)
        )
    }

    @Test("A packet of exactly the limit passes, one byte more ends the session before anything of it is forwarded")
    func tooLarge() throws {
        let fits = self.publish(1000)
        var uplink = self.makeUplink(maximum: fits.count)
        #expect(try self.forward(&uplink, fits).progress.end == nil)
        let outcome = try self.forward(&uplink, self.publish(1) + Array(self.publish(1001).prefix(3)))
        #expect(outcome.progress.end == .tooLarge)
        #expect(outcome.frames.map(\.body) == [self.publish(1)])
    }

    @Test(
        "What is not MQTT ends the session; what came before it is forwarded",
        arguments: [
            [0x00, 0x00], [0x36, 0x00], [0x80, 0x00], [0x30, 0x80, 0x80, 0x80, 0x80], [0x30, 0x80, 0x00],
            [0xC0, 0x01, 0x00],
        ] as [[UInt8]]
    )
    func malformed(bytes: [UInt8]) throws {
        var uplink = self.makeUplink()
        let outcome = try self.forward(&uplink, self.publish(1) + bytes)
        let code: ReasonCode = bytes[0] == 0 ? .protocolError : .malformedPacket
        #expect(outcome.progress.end == .malformed(DecodeError(code, "")))
        #expect(outcome.frames.map(\.body) == [self.publish(1)])
        #expect(outcome.replies == [])
    }

    @Test("DISCONNECT is passed on, what follows it is not looked at")
    func disconnect() throws {
        var uplink = self.makeUplink()
        let outcome = try self.forward(&uplink, self.publish(1) + [0xE0, 0x00] + self.publish(2) + [0x00, 0x00])
        #expect(outcome.progress.end == .clientDisconnected)
        #expect(outcome.frames.map(\.body) == [self.publish(1) + [0xE0, 0x00]])
    }

    @Test("Regression: a DISCONNECT that travels in parts ends the input too")
    func largeDisconnect() throws {
        let property = (Array("k".utf8), [UInt8](repeating: 0x61, count: 60_000))
        var properties = Properties()
        properties.userProperties = [property, property].map { Properties.UserProperty(name: $0.0, value: $0.1) }
        let disconnect = Packet.disconnect(DisconnectPacket(properties: properties)).bytes(.v5_0)
        var uplink = self.makeUplink(credit: 0)
        let outcome = try self.forward(&uplink, disconnect + self.pingreq)
        #expect(outcome.progress.end == .clientDisconnected)
        #expect(outcome.frames.flatMap(\.body) == disconnect)
        #expect(outcome.frames.last?.flags == 0)
        #expect(outcome.replies == [])
    }

    @Test("Regression: MQTT 3.1 sends PUBREL and SUBSCRIBE again with the DUP flag set")
    func version3DUP() throws {
        for first: UInt8 in [0x6A, 0x8A, 0xAA] {
            let packet: [UInt8] = [first, 2, 0, 1]
            var old = self.makeUplink(.v3_1)
            #expect(try self.forward(&old, packet).frames.map(\.body) == [packet])
            var new = self.makeUplink(.v3_1_1)
            #expect(try self.forward(&new, packet).progress.end == .malformed(DecodeError(.malformedPacket, "")))
        }
    }
}
