import BenchmarkSupport
import Common
import Router
import RouterStore

enum StoreCases {
    /// A QoS 1 message for a session whose client is away: recorded and committed, 64 in a transaction.
    static func commit(_ iterations: Int) throws {
        try TemporaryStore.with { try Self.commit(iterations, to: $0) }
    }

    private static func commit(_ iterations: Int, to store: StoreFile) throws {
        var configuration = Configuration()
        configuration.mqtt.sysIntervalNanoseconds = 0
        configuration.mqtt.session.maxQueuedMessages = 1_000_000
        configuration.mqtt.session.maxQueuedBytes = 1 << 30
        var core = RouterCore(configuration: configuration, seed: 42)
        var now: Instant = Nanoseconds.perSecond
        try core.restore(from: store, now: now)
        let hello = LinkHello(
            role: .listener,
            bootID: [UInt8](repeating: 9, count: 16),
            name: Array("listener-1".utf8),
            sessionCreditBytes: 256 << 10,
            linkCreditBytes: 64 << 20
        )
        let link = core.linkUp(peer: hello, now: now)
        var up = ByteBuffer()
        var down = ByteBuffer()
        func turn() throws {
            now += 100_000
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: up.readable, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                precondition(core.received(frame, on: link, now: now) == nil, "the router does not understand")
            }
            up.clear()
            core.endTurn(now: now)
            while let (group, records) = core.takeChanges() {
                try store.append([records])
                core.committed(upTo: group, now: now)
            }
            core.takeOutput(of: link, into: &down)
            down.clear()
        }
        Self.open("parked", slot: 0, lasts: true, &up)
        try turn()
        var packet = ByteBuffer()
        SubscribePacket(
            packetIdentifier: 1,
            subscriptions: [.init(filter: Array("t".utf8), qos: .atLeastOnce)]
        ).encode(into: &packet, version: .v5_0)
        up.writeFrameHeader(.sessionPackets, handle: 1 << 32, bodyBytes: packet.readableBytes)
        up.write(packet.readable)
        SessionCloseCause.connectionLost.encode(into: &up, handle: 1 << 32)
        Self.open("publisher", slot: 1, lasts: false, &up)
        try turn()
        let payload = [UInt8](repeating: 0x61, count: 128)
        var sent = 0
        while sent < iterations {
            for _ in 0..<min(64, iterations - sent) {
                sent += 1
                packet.clear()
                PublishPacket(
                    qos: .atLeastOnce,
                    topic: Array("t".utf8),
                    packetIdentifier: UInt16(sent % 65_535) + 1,
                    payload: payload
                ).encode(into: &packet, version: .v5_0)
                up.writeFrameHeader(.sessionPackets, handle: 1 << 32 | 1, bodyBytes: packet.readableBytes)
                up.write(packet.readable)
            }
            try turn()
        }
        precondition(core.queuedMessages == iterations, "\(core.queuedMessages) of \(iterations) messages were queued")
    }

    private static func open(_ name: String, slot: UInt64, lasts: Bool, _ output: inout ByteBuffer) {
        var properties = Properties()
        if lasts { properties.sessionExpiryInterval = 3600 }
        var connect = ByteBuffer()
        ConnectPacket(
            version: .v5_0,
            keepAliveSeconds: 0,
            clientIdentifier: Array(name.utf8),
            properties: properties
        ).encode(into: &connect)
        SessionOpen(
            connectStamp: slot + 1,
            listenerName: Array("devices".utf8),
            peerAddress: Array("192.0.2.1:1".utf8),
            identity: nil,
            userName: nil,
            access: AccessRules(rules: [], noMatch: .allow),
            connect: connect.array
        ).encode(into: &output, handle: 1 << 32 | slot)
    }
}
