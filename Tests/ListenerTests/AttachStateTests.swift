import Common
import TestSupport
import Testing

@testable import Listener

/// What a listener remembers of a session for the next router.
@Suite struct AttachStateTests {
    private static let open = SessionOpen(
        connectStamp: 1,
        listenerName: [],
        peerAddress: [],
        identity: nil,
        userName: nil,
        access: .allowEverything,
        connect: []
    )

    private func state(_ version: ProtocolVersion = .v5_0) -> AttachState {
        AttachState(sessionNumber: 7, clientIdentifier: [1], version: version, takesAliases: true)
    }

    private func up(_ state: AttachState, _ bytes: [UInt8], part: Int? = nil, _ version: ProtocolVersion = .v5_0) {
        bytes.withUnsafeBytes { bytes in
            guard case .header(let header) = FixedHeader.decode(bytes, version: version) else {
                Issue.record("no packet")
                return
            }
            state.passedUp(UnsafeRawBufferPointer(rebasing: bytes[..<(part ?? bytes.count)]), header)
        }
    }

    private func down(_ state: AttachState, _ packets: Packet...) {
        packets.flatMap { $0.bytes(.v5_0) }.withUnsafeBytes { state.passedDown($0) }
    }

    private func publish(_ qos: QoS, _ identifier: UInt16, _ text: String = "x", alias: UInt16? = nil) -> Packet {
        var packet = PublishPacket(qos: qos, topic: Array("t".utf8), payload: Array(text.utf8))
        packet.packetIdentifier = identifier
        packet.properties.topicAlias = alias
        return .publish(packet)
    }

    private func ack(_ identifier: UInt16, _ reason: ReasonCode = .success) -> AcknowledgementPacket {
        AcknowledgementPacket(packetIdentifier: identifier, reasonCode: reason)
    }

    /// What is behind its last part in the same frame was not seen: after a restart its identifier was not known.
    @Test func whatFollowsALargePacketIsRememberedToo() {
        let state = self.state()
        let large = self.publish(.atLeastOnce, 5, String(repeating: "x", count: 1000)).bytes(.v5_0)
        let bytes = large + self.publish(.exactlyOnce, 6).bytes(.v5_0)
        for (range, isStored) in [(0..<300, true), (300..<900, false), (900..<bytes.count, false)] {
            bytes[range].withUnsafeBytes { state.passedDown($0, isStored: isStored) }
            #expect(state.continuesPartial == (range.upperBound < large.count))
        }
        #expect(state.outbound[5] == .atLeastOnce && state.outbound[6] == .exactlyOnce)
    }

    @Test func ofALargePacketItIsKnownHowMuchTheClientHas() {
        let state = self.state()
        let large = self.publish(.atLeastOnce, 5, String(repeating: "x", count: 1000)).bytes(.v5_0)
        large[..<300].withUnsafeBytes { state.passedDown($0, isStored: true) }
        large[300..<310].withUnsafeBytes { state.passedDown($0) }
        let attach = state.attach(Self.open, outstandingBytes: 0, unreportedBytes: 0, marks: 0)
        #expect(attach.partial == .init(packetIdentifier: 5, packetBytes: UInt32(large.count), passedBytes: 310))
        // One that its router alone had can't be continued.
        let other = self.state()
        large[..<300].withUnsafeBytes { other.passedDown($0) }
        #expect(!other.continuesPartial)
        #expect(other.attach(Self.open, outstandingBytes: 0, unreportedBytes: 0, marks: 0).partial == nil)
    }

    @Test func aLargeQoS0PacketCanBeContinuedToo() {
        let state = self.state()
        let large = self.publish(.atMostOnce, 0, String(repeating: "x", count: 1000)).bytes(.v5_0)
        large[..<300].withUnsafeBytes { state.passedDown($0, isStored: true) }
        #expect(state.continuesPartial)
        let attach = state.attach(Self.open, outstandingBytes: 0, unreportedBytes: 0, marks: 0)
        #expect(attach.partial == .init(packetIdentifier: 0, packetBytes: UInt32(large.count), passedBytes: 300))
        large[300...].withUnsafeBytes { state.passedDown($0) }
        #expect(!state.continuesPartial)
    }

    /// As they would be sent again, DUP taken away.
    private func unanswered(_ state: AttachState) -> [[UInt8]] {
        var frames = ByteBuffer()
        _ = state.writeUnanswered(into: &frames, handle: 3)
        var packets: [[UInt8]] = []
        var offset = 0
        var isInside = false
        while case .frame(let frame) = FrameReader.frame(in: frames.readable, at: offset) {
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            #expect(frame.kind == .sessionPackets && frame.handle == 3)
            if isInside { packets[packets.count - 1] += frame.body } else { packets.append([UInt8](frame.body)) }
            isInside = frame.flags & FrameFlags.packetContinues != 0
        }
        return packets.map { packet in
            guard packet[0] >> 4 == PacketType.publish.rawValue else { return packet }
            #expect(packet[0] & 0x08 != 0, "DUP")
            return [packet[0] & ~0x08] + packet.dropFirst()
        }
    }

    @Test func whatHasNoAnswerIsKeptInItsOrder() {
        let state = self.state()
        let sent = [
            self.publish(.atLeastOnce, 1), self.publish(.exactlyOnce, 2), .pubrel(self.ack(3)),
            .subscribe(SubscribePacket(packetIdentifier: 4, subscriptions: [.init(filter: [0x61], qos: .atMostOnce)])),
            .unsubscribe(UnsubscribePacket(packetIdentifier: 5, filters: [[0x61]])),
            .disconnect(DisconnectPacket(reasonCode: .success)),
        ].map { $0.bytes(.v5_0) }
        self.up(state, self.publish(.atMostOnce, 0).bytes(.v5_0))
        for packet in sent { self.up(state, packet) }
        self.up(state, Packet.pingreq.bytes(.v5_0))
        self.up(state, Packet.puback(self.ack(1)).bytes(.v5_0))
        #expect(self.unanswered(state) == sent)
        // An answer of another kind, or to another packet, is none.
        self.down(state, .puback(self.ack(2)), .pubrec(self.ack(1)), .pubcomp(self.ack(9)))
        #expect(self.unanswered(state) == sent)
        self.down(state, .pubcomp(self.ack(3)), .suback(SubackPacket(packetIdentifier: 4, returnCodes: [0])))
        #expect(self.unanswered(state) == [sent[0], sent[1], sent[4], sent[5]])
        self.down(state, .puback(self.ack(1)), .pubrec(self.ack(2)))
        self.down(state, .unsuback(UnsubackPacket(packetIdentifier: 5, reasonCodes: [.success])))
        #expect(self.unanswered(state) == [sent[5]], "only the end of the session answers DISCONNECT")
    }

    /// - Parameter grows: it becomes so many that there is an index, and few again.
    @Test(arguments: [false, true]) func keepsWhatANaiveListKeeps(_ grows: Bool) {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let state = self.state()
        var expected: [(bytes: [UInt8], answer: Packet)] = []
        var next: UInt16 = 0
        for step in 0..<3000 {
            let adds = grows ? random.oneIn(4) == (step / 750 % 2 == 1) : Bool.random(using: &random)
            if adds || expected.isEmpty {
                next = next % 100 + 1
                let text = String(repeating: "x", count: Int.random(in: 0...300, using: &random))
                let (packet, answer): (Packet, Packet) =
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: (self.publish(.atLeastOnce, next, text), .puback(self.ack(next)))
                    case 1: (self.publish(.exactlyOnce, next, text), .pubrec(self.ack(next)))
                    default: (.pubrel(self.ack(next)), .pubcomp(self.ack(next)))
                    }
                let bytes = packet.bytes(.v5_0)
                self.up(state, bytes)
                expected.append((bytes, answer))
            } else {
                // Mostly in order, as routers answer.
                let place = random.oneIn(4) ? Int.random(in: 0..<expected.count, using: &random) : 0
                let answer = expected[place].answer
                guard let first = expected.firstIndex(where: { $0.answer == answer }) else { continue }
                self.down(state, expected.remove(at: first).answer)
            }
            let count = state.unanswered.count
            #expect(count == expected.count, "seed \(seed)")
        }
        #expect(self.unanswered(state) == expected.map(\.bytes), "seed \(seed)")
        while !expected.isEmpty { self.down(state, expected.removeFirst().answer) }
        let isEmpty = state.unanswered.isEmpty
        #expect(isEmpty, "seed \(seed)")
    }

    @Test func aLargePacketIsKeptAsItComes() {
        let state = self.state()
        let packet = self.publish(.atLeastOnce, 9, String(repeating: "y", count: 200_000)).bytes(.v5_0)
        self.up(state, packet, part: 1000)
        let keepsPart = state.unanswered.keepsPart
        #expect(keepsPart)
        packet[1000..<150_000].withUnsafeBytes { state.continuedUp($0) }
        #expect(self.unanswered(state) == [Array(packet[..<150_000])])
        packet[150_000...].withUnsafeBytes { state.continuedUp($0) }
        let keepsNoPart = !state.unanswered.keepsPart
        #expect(keepsNoPart)
        #expect(self.unanswered(state) == [packet])
        self.down(state, .puback(self.ack(9)))
        let isEmpty = state.unanswered.isEmpty
        #expect(isEmpty)
    }

    @Test("Regression: the rest of a packet that was answered before it had come was taken for records")
    func anAnswerBeforeTheEnd() {
        for isFirst in [true, false] {
            let state = self.state()
            let small = self.publish(.atLeastOnce, 1).bytes(.v5_0)
            if !isFirst { self.up(state, small) }
            let large = self.publish(.atLeastOnce, 9, String(repeating: "y", count: 200_000)).bytes(.v5_0)
            self.up(state, large, part: 1000)
            self.down(state, .puback(self.ack(9)))
            if !isFirst { self.down(state, .puback(self.ack(1))) }
            large[1000..<1003].withUnsafeBytes { state.continuedUp($0) }
            large[1003...].withUnsafeBytes { state.continuedUp($0) }
            #expect(self.unanswered(state) == [])
            self.up(state, small)
            #expect(self.unanswered(state) == [small])
        }
    }

    @Test func theWayOfEachMessageToTheClientIsKnown() {
        let state = self.state()
        self.down(state, self.publish(.atLeastOnce, 1), self.publish(.exactlyOnce, 2), self.publish(.atMostOnce, 0))
        state.passedDown(firstByte: 0x32, identifier: 40)
        state.passedDown(firstByte: 0x34, identifier: 41)
        state.passedDown(firstByte: 0x30, identifier: 0)
        func stages() -> [UInt16: OutboundStage] {
            Dictionary(uniqueKeysWithValues: state.outbound.all.map { ($0.packetIdentifier, $0.stage) })
        }
        #expect(stages() == [1: .atLeastOnce, 2: .exactlyOnce, 40: .atLeastOnce, 41: .exactlyOnce])
        self.up(state, Packet.pubrec(self.ack(2)).bytes(.v5_0))
        self.up(state, Packet.pubrec(self.ack(41, .quotaExceeded)).bytes(.v5_0))
        self.up(state, Packet.puback(self.ack(40)).bytes(.v5_0))
        #expect(stages() == [1: .atLeastOnce, 2: .received])
        // One for nothing changes nothing.
        self.up(state, Packet.pubrec(self.ack(77)).bytes(.v5_0))
        self.down(state, .pubrel(self.ack(78)), .pubrel(self.ack(2)))
        #expect(stages() == [1: .atLeastOnce, 2: .released])
        self.up(state, Packet.pubcomp(self.ack(2)).bytes(.v5_0))
        self.up(state, Packet.puback(self.ack(1)).bytes(.v5_0))
        #expect(stages() == [:] && state.outbound.count == 0)
    }

    /// A client that was never told what its router could not store lost its connection when that router was killed.
    @Test func onlyWhatTheClientWasToldTiesItToARouter() {
        let state = self.keepingState()
        let granted = SubackPacket(packetIdentifier: 5, returnCodes: [1])
        state.isUnstored(by: [1])
        #expect(state.unstoredBy == nil)
        // What has nothing to do with it.
        self.down(state, self.publish(.atLeastOnce, 5), .puback(self.ack(6)))
        #expect(state.unstoredBy == nil)
        // The next router is asked again, and can store it.
        #expect(self.completing(state, router: 2) == [])
        self.down(state, .suback(granted))
        #expect(state.unstoredBy == nil)
        for answer in [Packet.suback(granted), .unsuback(UnsubackPacket(packetIdentifier: 5, reasonCodes: [.success]))]
        {
            state.isUnstored(by: [2])
            self.down(state, answer)
            #expect(state.unstoredBy == [2])
            state.isStored()
            #expect(state.unstoredBy == nil)
            self.down(state, answer)
            #expect(state.unstoredBy == nil)
        }
    }

    @Test func topicAliasesAreRemembered() throws {
        let state = self.state()
        self.up(state, self.publish(.atMostOnce, 0, alias: 3).bytes(.v5_0))
        self.up(state, self.publish(.atLeastOnce, 1, alias: 4).bytes(.v5_0))
        var other = PublishPacket(qos: .atMostOnce, topic: Array("other".utf8), payload: [])
        other.properties.topicAlias = 3
        self.up(state, Packet.publish(other).bytes(.v5_0))
        other.topic = []
        self.up(state, Packet.publish(other).bytes(.v5_0))
        // Of a large one the first part tells.
        let large = self.publish(.atMostOnce, 0, String(repeating: "z", count: 100_000), alias: 5).bytes(.v5_0)
        self.up(state, large, part: 65_536)
        let attach = state.attach(Self.open, outstandingBytes: 1, unreportedBytes: 2, marks: 0)
        #expect(
            attach.aliases == [
                .init(alias: 3, topic: Array("other".utf8)), .init(alias: 4, topic: Array("t".utf8)),
                .init(alias: 5, topic: Array("t".utf8)),
            ]
        )
        #expect(attach.outstandingBytes == 1 && attach.unreportedBytes == 2 && attach.sessionNumber == 7)
    }

    /// It went to the topic that the alias stood for when the router was lost.
    @Test func whatIsSentAgainHasItsTopic() throws {
        let state = self.state()
        @discardableResult
        func send(
            _ topic: String,
            _ qos: QoS,
            _ identifier: UInt16,
            _ payload: String = "x",
            part: Int? = nil
        ) -> [UInt8] {
            var packet = PublishPacket(qos: qos, topic: Array(topic.utf8), payload: Array(payload.utf8))
            packet.packetIdentifier = identifier
            packet.properties.topicAlias = 1
            packet.properties.contentType = Array("c".utf8)
            packet.properties.messageExpiryInterval = 9
            let bytes = Packet.publish(packet).bytes(.v5_0)
            self.up(state, bytes, part: part)
            return bytes
        }
        func named(_ topic: String, _ qos: QoS, _ identifier: UInt16, _ payload: String = "x") -> [UInt8] {
            var packet = PublishPacket(qos: qos, topic: Array(topic.utf8), payload: Array(payload.utf8))
            packet.packetIdentifier = identifier
            packet.properties.contentType = Array("c".utf8)
            packet.properties.messageExpiryInterval = 9
            return Packet.publish(packet).bytes(.v5_0)
        }
        send("first", .atLeastOnce, 1)
        self.down(state, .puback(self.ack(1)))
        send("", .atLeastOnce, 2)
        send("second", .atMostOnce, 0)
        send("", .exactlyOnce, 3)
        send("first", .atLeastOnce, 4)
        #expect(
            self.unanswered(state) == [
                named("first", .atLeastOnce, 2), named("second", .exactlyOnce, 3), named("first", .atLeastOnce, 4),
            ]
        )
        for identifier: UInt16 in [2, 4] { self.down(state, .puback(self.ack(identifier))) }
        self.down(state, .pubrec(self.ack(3)))
        #expect(self.unanswered(state) == [])
        // Of a large one the first part is changed, and the rest follows.
        let payload = String(repeating: "z", count: 100_000)
        let rest = send("", .atLeastOnce, 5, payload, part: 65_536).dropFirst(65_536)
        Array(rest).withUnsafeBytes { state.continuedUp($0) }
        #expect(self.unanswered(state) == [named("first", .atLeastOnce, 5, payload)])
    }

    /// Records that did not fit what was in them made it read beyond its memory.
    @Test func aPartThatIsNotEndedIsForgottenAndNothingBeyondItIsTaken() {
        let state = self.state()
        func publish(_ identifier: UInt16, _ count: Int) -> [UInt8] {
            let payload = [UInt8](repeating: 1, count: count)
            return Packet.publish(
                PublishPacket(qos: .atLeastOnce, topic: [0x74], packetIdentifier: identifier, payload: payload)
            ).bytes(.v5_0)
        }
        let (first, second, third) = (publish(1, 300), publish(2, 10), publish(3, 300))
        self.up(state, first, part: 100)
        self.up(state, second)
        #expect(self.unanswered(state) == [second])
        self.up(state, third, part: 100)
        (Array(third[100...]) + second).withUnsafeBytes { state.continuedUp($0) }
        #expect(self.unanswered(state) == [second, third])
        for identifier in [2, 3] as [UInt16] { self.down(state, .puback(self.ack(identifier))) }
        #expect(self.unanswered(state) == [])
        let count = state.unanswered.count
        #expect(count == 0)
    }

    @Test func brokenBytesAreNotRemembered() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let state = self.state()
        for _ in 0..<20_000 {
            var bytes = random.bytes(Int.random(in: 1...40, using: &random))
            bytes.withUnsafeBytes { state.passedDown($0) }
            if case .header(let header) = bytes.withUnsafeBytes({ FixedHeader.decode($0, version: .v5_0) }) {
                bytes += [UInt8](repeating: 0, count: max(0, min(200, header.packetBytes - bytes.count)))
                self.up(state, bytes, part: min(bytes.count, header.packetBytes))
                if state.unanswered.keepsPart { bytes.withUnsafeBytes { state.continuedUp($0) } }
            }
        }
        _ = self.unanswered(state).count
        #expect(state.outbound.all.allSatisfy { $0.packetIdentifier != 0 }, "seed \(seed)")
    }

    // MARK: QoS 2 messages that routers have in memory only

    private func keepingState() -> AttachState {
        AttachState(
            sessionNumber: 7,
            clientIdentifier: [1],
            version: .v5_0,
            takesAliases: true,
            connectStamp: 5,
            keepsExchanges: true,
            routerBootID: [1]
        )
    }

    private struct Again: Equatable {
        var exchange: UInt64
        var packet: [UInt8]
        var hasPubrec: Bool
    }

    private func again(_ frames: borrowing ByteBuffer) -> [Again] {
        var packets: [Again] = []
        var offset = 0
        while case .frame(let frame) = FrameReader.frame(in: frames.readable, at: offset) {
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            guard frame.flags & FrameFlags.hasExchanges != 0 else { continue }
            packets.append(
                Again(
                    exchange: frame.body.loadUnaligned(as: UInt64.self).littleEndian,
                    packet: [UInt8](frame.body[8...]),
                    hasPubrec: frame.flags & FrameFlags.hasPubrec != 0
                )
            )
        }
        return packets
    }

    private func completing(_ state: AttachState, router: UInt8) -> [Again] {
        var frames = ByteBuffer()
        _ = state.writeCompleting(into: &frames, handle: 3, bootID: [router])
        return self.again(frames)
    }

    @Test func aQoS2MessageIsKeptUntilItsPubcomp() {
        let state = self.keepingState()
        var identity = ExchangeIdentity(clientIdentifier: [1], sessionNumber: 7, connectStamp: 5)
        let packets = (1...3).map { self.publish(.exactlyOnce, UInt16($0), "\($0)").bytes(.v5_0) }
        for packet in packets { self.up(state, packet) }
        self.down(state, .pubrec(self.ack(1)), .pubrec(self.ack(2, .quotaExceeded)), .pubrec(self.ack(3)))
        #expect(self.unanswered(state) == [])
        #expect(self.completing(state, router: 1) == [], "this router has them")
        let first = identity.next()
        _ = identity.next()
        let third = identity.next()
        func again(_ exchange: UInt64, _ packet: [UInt8]) -> Again {
            Again(exchange: exchange, packet: [packet[0] | 0x08] + packet.dropFirst(), hasPubrec: true)
        }
        #expect(self.completing(state, router: 2) == [again(first, packets[0]), again(third, packets[2])])
        // The second router's link broke: it may not have got them, and knows those that it did get.
        #expect(self.completing(state, router: 2) == [again(first, packets[0]), again(third, packets[2])])
        self.down(state, .pubcomp(self.ack(1)))
        self.up(state, self.publish(.exactlyOnce, 4, "4").bytes(.v5_0))
        self.down(state, .pubrec(self.ack(4)))
        #expect(self.completing(state, router: 2) == [again(third, packets[2])])
        self.down(state, .pubcomp(self.ack(3)), .pubcomp(self.ack(4)))
        #expect(self.completing(state, router: 3) == [])
        let attach = state.attach(Self.open, outstandingBytes: 0, unreportedBytes: 0, marks: 0)
        #expect(attach.exchanges == .init(publishCount: 4, keeps: true))
    }

    @Test func onlyAStateWithNothingKeptGoesToARouterOfTheReleaseBefore() {
        let state = self.keepingState()
        self.up(state, self.publish(.exactlyOnce, 1).bytes(.v5_0))
        self.down(state, .pubrec(self.ack(1)))
        #expect(!state.giveUpExchanges())
        self.down(state, .pubcomp(self.ack(1)))
        #expect(state.giveUpExchanges() && !state.keepsExchanges)
    }

    @Test func deliveredMessagesAreForgottenAtTheSecondMark() {
        var delivered = DeliveredExchanges()
        delivered.add(1, marks: 0)
        delivered.add(2, marks: 1)
        #expect(delivered.all(marks: 1) == [1, 2])
        delivered.add(3, marks: 2)
        #expect(delivered.all(marks: 2) == [2, 3])
        #expect(delivered.all(marks: 3) == [3])
        #expect(delivered.all(marks: 4) == [])
        delivered.add(4, marks: 4)
        #expect(delivered.all(marks: 6) == [])
    }

    /// Against a list, with a message at the front that is never completed: what is answered behind it does not pile up.
    @Test func oneThatIsNeverCompletedKeepsNothingElse() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var packets = UnansweredPackets()
        var expected: [UInt16] = []
        var identifier: UInt16 = 0
        for round in 0..<5000 {
            if random.oneIn(2) || expected.count < 2 {
                identifier = identifier % 2000 + 1
                guard !expected.contains(identifier) else { continue }
                let size = Int.random(in: 2...200, using: &random)
                [UInt8](repeating: 0x34, count: size).withUnsafeBytes {
                    packets.keep(
                        .init(bytes: $0, isWhole: true, isMarked: false, exchange: UInt64(identifier)),
                        until: .pubcomp,
                        identifier
                    )
                }
                expected.append(identifier)
            } else {
                let place = Int.random(in: 1..<min(expected.count, 8), using: &random)
                packets.answered(.pubcomp, expected.remove(at: place))
            }
            if round == 2500 { packets.markAll() }
            let count = packets.count
            #expect(count == expected.count, "seed \(seed)")
        }
        var found: [UInt16] = []
        packets.forEach { found.append(UInt16($0.exchange)) }
        #expect(found == expected, "seed \(seed)")
        let bytes = packets.memoryBytes
        #expect(bytes < 64 << 10 + expected.count * 250, "seed \(seed): \(bytes)")
    }
}
