import Common
import Glibc
import TestSupport
import Testing

/// Processes of the same user that connect to the roles' own sockets and do not speak as they should: listeners and devices do
/// not notice.
@Suite(.serialized) struct HostileLinkTests {
    private final class Stranger {
        let fileDescriptor: Int32
        private(set) var hasEnded = false

        init(_ path: String) throws {
            self.fileDescriptor = try UnixSocket.connect(path: path)
        }

        deinit {
            close(self.fileDescriptor)
        }

        /// Writes as much as the socket takes; reads nothing.
        @discardableResult
        func send(_ bytes: [UInt8]) -> Int {
            guard !self.hasEnded else { return 0 }
            let sent = bytes.withUnsafeBytes {
                Glibc.send(self.fileDescriptor, $0.baseAddress, $0.count, SendFlags.noSignal)
            }
            if sent < 0, errno != EAGAIN { self.hasEnded = true }
            return max(0, sent)
        }

        /// Whether the role has closed its side; what it sent is read.
        func isClosed() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while !self.hasEnded {
                let count = recv(self.fileDescriptor, &buffer, buffer.count, 0)
                if count < 0, errno == EAGAIN { return false }
                if count <= 0 { self.hasEnded = true }
            }
            return true
        }
    }

    private struct Stage {
        let broker: TestBroker
        let loop: EventLoop
        let healthy: HealthyClient
        let health: BrokerHealth
        let sockets: [String]

        init() throws {
            self.broker = try TestBroker(log: "{level: info, refused_per_second: 10}")
            self.loop = try EventLoop()
            self.healthy = try HealthyClient(self.broker, loop: self.loop)
            try self.healthy.run(self.loop, seconds: 0.5)
            self.health = try BrokerHealth(self.broker)
            let run = self.broker.directory.file("run")
            self.sockets = [
                "\(run)/router.sock", "\(run)/authworker-1.sock", "\(run)/control/router-1.sock",
                "\(run)/control/listener-1.sock",
            ]
        }

        func wait(_ what: String, seconds: Double = 30, _ condition: () throws -> Bool) throws {
            let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
            while try !condition() {
                guard Clock.monotonic() < deadline else { throw ProcessError(description: "waited until \(what)") }
                try self.healthy.run(self.loop, seconds: 0.02)
            }
        }

        func expectNobodyHarmed(growthMebibytes: Int) throws {
            let comment: Comment = "\(try self.health.summary()); \(self.healthy.summary)"
            print(comment)
            self.healthy.expectService(seconds: BrokerHealth.patienceSeconds, comment)
            try self.health.expectUnharmed(memoryGrowthMebibytes: growthMebibytes, comment)
            // Whoever comes new gets through all roles.
            let late = try HealthyClient(self.broker, loop: self.loop, device: "late")
            try late.run(self.loop, seconds: 0.5)
            #expect(late.received > 0, comment)
        }
    }

    private static func hello(_ role: LinkHello.Role, credit: UInt32 = UInt32.max) -> [UInt8] {
        var buffer = ByteBuffer()
        LinkHello(
            role: role,
            bootID: [UInt8](repeating: 9, count: 16),
            name: Array("stranger".utf8),
            sessionCreditBytes: credit,
            linkCreditBytes: credit
        ).encode(into: &buffer)
        return buffer.array
    }

    private static func frame(_ kind: UInt8, handle: UInt64, body: [UInt8], says bodyBytes: Int? = nil) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeLittleEndian(UInt32(bodyBytes ?? body.count))
        buffer.write(kind)
        buffer.write([0, 0, 0] as [UInt8])
        buffer.writeLittleEndian(handle)
        buffer.write(body)
        return buffer.array
    }

    @Test func `garbage, wrong hellos and lies about lengths end only their own link`() throws {
        let stage = try Stage()
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let kinds = FrameKind.allCases.map(\.rawValue) + [0, 0xFF]
        var rounds = 0
        try stage.healthy.run(stage.loop, seconds: 4) {
            let path = stage.sockets[rounds % stage.sockets.count]
            let stranger = try Stranger(path)
            rounds += 1
            let roles: [LinkHello.Role] = [.listener, .router, .authWorker, .tool]
            if random.oneIn(2) { stranger.send(Self.hello(roles[Int(random.next() % 4)])) }
            for _ in 0..<Int(random.next() % 20) {
                let kind = kinds[Int(random.next() % UInt64(kinds.count))]
                let body = random.bytes(Int(random.next() % 300))
                let lie = random.oneIn(8) ? Int(random.next() & 0xFFFF_FFFF) : body.count
                stranger.send(Self.frame(kind, handle: random.next() % 5, body: body, says: lie))
            }
        }
        #expect(rounds > 200, "only \(rounds) rounds")
        try stage.expectNobodyHarmed(growthMebibytes: 24)
    }

    @Test func `peers that connect and say nothing are closed in time, and do not take everybody's place`() throws {
        let stage = try Stage()
        var strangers: [Stranger] = []
        for number in 0..<1200 {
            // A full backlog says EAGAIN: the role has not come to it yet.
            if let stranger = try? Stranger(stage.sockets[number % 2]) { strangers.append(stranger) }
            if number % 20 == 0 { try stage.healthy.run(stage.loop, seconds: 0.005) }
        }
        #expect(strangers.count > 600)
        // A listener that comes while they are there gets its place.
        let listener = try Stranger(stage.sockets[0])
        listener.send(Self.hello(.listener))
        try stage.wait("the strangers are closed", seconds: 20) { strangers.allSatisfy { $0.isClosed() } }
        #expect(!listener.isClosed(), "the router has closed a link that said hello")
        try stage.expectNobodyHarmed(growthMebibytes: 24)
    }

    @Test func `a listener that opens sessions, subscribes to everything and never reads is closed at a bound`() throws
    {
        let stage = try Stage()
        let stranger = try Stranger(stage.sockets[0])
        var setup = ByteBuffer()
        for number in 0..<50 {
            let connect = ConnectPacket(version: .v5_0, cleanStart: true, clientIdentifier: Array("s\(number)".utf8))
            SessionOpen(
                connectStamp: 1,
                listenerName: Array("devices".utf8),
                peerAddress: [],
                identity: nil,
                userName: nil,
                access: .allowEverything,
                connect: Packet.connect(connect).bytes(.v5_0)
            ).encode(into: &setup, handle: 1 << 32 | UInt64(number))
            let all = SubscribePacket.Subscription(filter: Array("#".utf8), qos: .atMostOnce)
            let subscribe = Packet.subscribe(SubscribePacket(packetIdentifier: 1, subscriptions: [all])).bytes(.v5_0)
            setup.write(
                Self.frame(FrameKind.sessionPackets.rawValue, handle: 1 << 32 | UInt64(number), body: subscribe)
            )
        }
        stranger.send(Self.hello(.listener) + setup.array)
        // Each of its packets wants an answer, and each message of the healthy client goes to all its sessions.
        let pings = [[UInt8]](repeating: [0xC0, 0], count: 30_000).flatMap { $0 }
        var flood = Self.frame(FrameKind.sessionPackets.rawValue, handle: 1 << 32, body: pings)
        var sent = 0
        try stage.healthy.run(stage.loop, seconds: 4) {
            for _ in 0..<8 {
                let count = stranger.send(flood)
                sent += count
                // What was not taken comes next, so that frames stay whole.
                flood = Array(flood[count...]) + flood[..<count]
                if count == 0 { break }
            }
        }
        #expect(sent > 1 << 20, "only \(sent) bytes were taken")
        try stage.expectNobodyHarmed(growthMebibytes: 224)
    }

    @Test func `a peer that asks the auth worker without end and never reads is closed at a bound`() throws {
        let stage = try Stage()
        let stranger = try Stranger(stage.sockets[1])
        var query = ByteBuffer()
        AuthQuery(
            listenerName: Array("devices".utf8),
            rulesName: Array("default".utf8),
            peerAddress: [],
            version: .v5_0,
            identity: nil,
            clientIdentifier: Array("c".utf8),
            userName: nil,
            password: nil
        ).encode(into: &query, request: 1)
        stranger.send(Self.hello(.listener))
        let one = query.array
        var flood = [[UInt8]](repeating: one, count: 500).flatMap { $0 }
        try stage.healthy.run(stage.loop, seconds: 3) {
            let count = stranger.send(flood)
            flood = Array(flood[count...]) + flood[..<count]
        }
        try stage.expectNobodyHarmed(growthMebibytes: 80)
    }
}
