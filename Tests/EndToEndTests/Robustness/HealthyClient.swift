import Common
import TestSupport
import Testing

/// A well-behaved device beside all the trouble: it publishes to itself at QoS 1 ten times a second, over mutual TLS, and measures
/// how long each message takes.
final class HealthyClient {
    private let client: TestClient
    private let topic: String
    private var nextSend: Instant = 0
    private var sentAt: [UInt32: Instant] = [:]
    private var next: UInt32 = 0
    private var lastTurn: Instant = 0
    private(set) var received = 0
    private(set) var slowestNanoseconds: UInt64 = 0
    /// The longest that this process itself did not turn its loop.
    private(set) var ownPauseNanoseconds: UInt64 = 0

    init(_ broker: TestBroker, loop: EventLoop, device: String = "healthy") throws {
        try broker.provision(device, password: "secret")
        self.topic = "devices/\(device)/pulse"
        self.client = try TestClient(
            loop: loop,
            port: broker.tlsPort,
            version: .v5_0,
            tls: try broker.tlsContext(try broker.pki.device(device))
        )
        let connack = try self.client.connect(clientIdentifier: device, userName: "u", password: "secret")
        guard connack.returnCode == 0 else { throw ProcessError(description: "CONNACK \(connack.returnCode)") }
        guard try self.client.subscribe(self.topic, qos: .atLeastOnce) == [1] else {
            throw ProcessError(description: "the healthy client may not subscribe")
        }
        self.client.onPacket = { [unowned self] in self.take($0) }
    }

    var isConnected: Bool { !self.client.hasEnded }
    var sent: Int { Int(self.next) }

    /// To be called often.
    func turn() {
        let now = Clock.monotonic()
        if self.lastTurn > 0 { self.ownPauseNanoseconds = max(self.ownPauseNanoseconds, now - self.lastTurn) }
        self.lastTurn = now
        // One that never comes is late too.
        if let oldest = self.sentAt.values.min() { self.note(now - oldest) }
        guard now >= self.nextSend else { return }
        self.nextSend = now + 100 * Nanoseconds.perMillisecond
        let sequence = self.next
        self.next += 1
        self.sentAt[sequence] = now
        self.client.publish(
            self.topic,
            (0..<4).map { UInt8(truncatingIfNeeded: sequence >> (24 - 8 * $0)) },
            qos: .atLeastOnce,
            packetIdentifier: UInt16(sequence % 60_000) + 1
        )
    }

    private func take(_ packet: Packet) {
        guard case .publish(let publish) = packet else { return }
        self.client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        let sequence = publish.payload.reduce(0) { $0 << 8 | UInt32($1) }
        guard let sent = self.sentAt.removeValue(forKey: sequence) else { return }
        self.received += 1
        self.note(Clock.monotonic() - sent)
    }

    private func note(_ nanoseconds: UInt64) {
        self.slowestNanoseconds = max(self.slowestNanoseconds, nanoseconds)
    }

    /// Turns the loop for so long, doing `work` in between.
    func run(_ loop: EventLoop, seconds: Double, _ work: () throws -> Void = {}) throws {
        let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
        while Clock.monotonic() < deadline {
            self.turn()
            try work()
            try loop.turn(maximumWaitNanoseconds: 2 * Nanoseconds.perMillisecond)
        }
    }

    /// Got everything, each within a second; what this process itself was late is not the broker's.
    func expectService(seconds: Int = 1, _ comment: Comment) {
        #expect(self.isConnected, comment)
        #expect(self.received + 1 + 10 * seconds >= self.sent, comment)
        let allowed = UInt64(seconds) * Nanoseconds.perSecond + 2 * self.ownPauseNanoseconds
        let slowest = self.slowestNanoseconds / Nanoseconds.perMillisecond
        #expect(self.slowestNanoseconds <= allowed, "a message took \(slowest) ms; \(comment)")
    }

    var summary: String {
        "healthy client: \(self.received) of \(self.sent) messages, the slowest in "
            + "\(self.slowestNanoseconds / Nanoseconds.perMillisecond) ms, own pauses up to "
            + "\(self.ownPauseNanoseconds / Nanoseconds.perMillisecond) ms"
    }
}
