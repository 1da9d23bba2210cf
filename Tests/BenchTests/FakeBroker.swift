import Common
import Glibc
import TestSupport

/// A broker on a thread of its own that does what it is told wrong. It gives messages to all whose subscription ends as the topic does.
final class FakeBroker: @unchecked Sendable {
    struct Behaviour: Sendable {
        /// Encoded properties of CONNACK, without their length; of MQTT 5.0.
        var connack: [UInt8] = []
        /// Each so manyth delivery is left out.
        var dropsEvery = 0
        /// Each so manyth message is refused in its acknowledgement.
        var refusesEvery = 0
        /// Acknowledgements do not come.
        var isMute = false
        /// Acknowledgements wait until so many are there, or for a moment.
        var acknowledgesTogether = 0
        /// Subscriptions of this client are refused.
        var refusedClient = ""
        /// Seconds after the first message, from and to which nothing is delivered.
        var stall: (from: Double, to: Double)?
        /// Bytes of each so manyth payload that are inverted.
        var damagesEvery = 0
        var damage = 0..<0
    }

    /// What clients did.
    struct Seen: Sendable {
        var messages = 0
        var mostUnacknowledged = 0
        var pings = 0
        /// DISCONNECT with a Session Expiry Interval of 0.
        var endedSessions = 0
        /// CONNECT with Clean Start, or Clean Session.
        var cleanConnects = 0
    }

    private struct Client {
        var input: [UInt8] = []
        var version: UInt8 = 5
        var name = ""
        var filter = ""
        var qos: UInt8 = 0
        var identifier: UInt16 = 0
        /// Acknowledgements that are not sent.
        var held: [[UInt8]] = []
        var heldSince: Instant = 0
        var unacknowledged = 0
    }

    let port: UInt16
    private let behaviour: Behaviour
    private let listening: Int32
    private let monitor = Monitor()
    // Guarded by the monitor.
    private var isStopped = false
    private var noticed = Seen()
    private var thread: pthread_t?
    // Of the thread alone.
    private var clients: [Int32: Client] = [:]
    private var deliveries = 0
    private var firstMessage: Instant?
    private var stalled: [(to: Int32, bytes: [UInt8])] = []

    var seen: Seen { self.monitor.locked { self.noticed } }

    init(_ behaviour: Behaviour = Behaviour()) throws {
        self.behaviour = behaviour
        (self.listening, self.port) = try listenOnLoopback(blocks: false)
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<FakeBroker>.fromOpaque(context).takeUnretainedValue().run() }
                return nil
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
        self.thread = thread
    }

    /// To be called before it goes.
    func stop() {
        self.monitor.locked { self.isStopped = true }
        if let thread = self.thread { pthread_join(thread, nil) }
        self.thread = nil
    }

    deinit {
        self.stop()
        close(self.listening)
    }

    // MARK: The thread

    private func run() {
        while !self.monitor.locked({ self.isStopped }) {
            var entries = [pollfd(fd: self.listening, events: Int16(POLLIN), revents: 0)]
            entries += self.clients.keys.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&entries, nfds_t(entries.count), 2)
            for entry in entries where entry.revents != 0 {
                if entry.fd == self.listening { self.accept() } else { self.read(entry.fd) }
            }
            for client in self.clients.keys { self.sendHeld(to: client, isLate: true) }
            if !self.isStalling {
                for (client, bytes) in self.stalled where self.clients[client] != nil { self.send(bytes, to: client) }
                self.stalled = []
            }
        }
        for client in self.clients.keys { close(client) }
    }

    private func accept() {
        let client = Glibc.accept(self.listening, nil, nil)
        if client >= 0 { self.clients[client] = Client() }
    }

    private func send(_ bytes: [UInt8], to client: Int32) {
        // The socket blocks: clients always read.
        _ = bytes.withUnsafeBytes { Glibc.send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    private func read(_ client: Int32) {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(client, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        guard count > 0 else {
            if count == 0 || errno != EAGAIN {
                close(client)
                self.clients[client] = nil
            }
            return
        }
        self.clients[client]?.input += bytes[..<count]
        while let packet = self.nextPacket(of: client) { self.handle(packet.first, packet.body, client) }
    }

    private func nextPacket(of client: Int32) -> (first: UInt8, body: [UInt8])? {
        guard let input = self.clients[client]?.input, input.count >= 2 else { return nil }
        var (length, offset) = (0, 1)
        while offset < input.count {
            length |= Int(input[offset] & 0x7F) << (7 * (offset - 1))
            offset += 1
            if input[offset - 1] < 0x80 { break }
        }
        guard input[offset - 1] < 0x80, input.count >= offset + length else { return nil }
        self.clients[client]?.input.removeFirst(offset + length)
        return (input[0], Array(input[offset..<offset + length]))
    }

    private static func packet(_ first: UInt8, _ body: [UInt8]) -> [UInt8] {
        var (length, bytes) = (body.count, [first])
        repeat {
            bytes.append(UInt8(length & 0x7F) | (length > 0x7F ? 0x80 : 0))
            length >>= 7
        } while length > 0
        return bytes + body
    }

    private func handle(_ first: UInt8, _ body: [UInt8], _ client: Int32) {
        let isV5 = self.clients[client]?.version == 5
        switch first >> 4 {
        case 1: self.connect(body, client)
        case 3: self.publish(first, body, client)
        case 6:
            self.clients[client]?.unacknowledged -= 1
            self.send([0x70, 2] + body[..<2], to: client)
        case 8:
            let start = isV5 ? 3 + Int(body[2]) : 2
            let end = start + 2 + Int(body[start + 1])
            let isRefused = self.clients[client]?.name == self.behaviour.refusedClient
            self.clients[client]?.filter = isRefused ? "" : String(decoding: body[(start + 2)..<end], as: UTF8.self)
            self.clients[client]?.qos = body[end] & 3
            let code = isRefused ? 0x80 : body[end] & 3
            self.send(Self.packet(0x90, Array(body[..<2]) + (isV5 ? [0] : []) + [code]), to: client)
        case 12:
            self.monitor.locked { self.noticed.pings += 1 }
            self.send([0xD0, 0], to: client)
        case 14:
            let endsSession = body == [0, 5, 0x11, 0, 0, 0, 0]
            if endsSession { self.monitor.locked { self.noticed.endedSessions += 1 } }
        default: break
        }
    }

    private func connect(_ body: [UInt8], _ client: Int32) {
        let isV5 = body[6] == 5
        let start = 10 + (isV5 ? 1 + Int(body[10]) : 0)
        let name = body[(start + 2)..<(start + 2 + Int(body[start + 1]))]
        self.clients[client]?.version = body[6]
        self.clients[client]?.name = String(decoding: name, as: UTF8.self)
        if body[7] & 2 != 0 { self.monitor.locked { self.noticed.cleanConnects += 1 } }
        let properties = isV5 ? [UInt8(self.behaviour.connack.count)] + self.behaviour.connack : []
        self.send(Self.packet(0x20, [0, 0] + properties), to: client)
    }

    private var isStalling: Bool {
        guard let first = self.firstMessage, let stall = self.behaviour.stall else { return false }
        let seconds = Double(Clock.monotonic() - first) / 1e9
        return seconds >= stall.from && seconds < stall.to
    }

    private func publish(_ first: UInt8, _ body: [UInt8], _ client: Int32) {
        if self.firstMessage == nil { self.firstMessage = Clock.monotonic() }
        let qos = first >> 1 & 3
        let isV5 = self.clients[client]?.version == 5
        let topicEnd = 2 + Int(body[0]) << 8 + Int(body[1])
        let payload = Array(body[(topicEnd + (qos > 0 ? 2 : 0) + (isV5 ? 1 : 0))...])
        let count = self.monitor.locked {
            self.noticed.messages += 1
            return self.noticed.messages
        }
        let isRefused = self.behaviour.refusesEvery > 0 && count % self.behaviour.refusesEvery == 0
        if qos > 0 {
            self.acknowledge(Array(body[topicEnd..<topicEnd + 2]), qos, isRefused: isRefused, client)
        }
        guard !isRefused else { return }
        let topic = Array(body[..<topicEnd])
        let text = String(decoding: topic[2...], as: UTF8.self)
        for (subscriber, entry) in self.clients where !entry.filter.isEmpty {
            guard entry.filter == text || entry.filter.contains("+") else { continue }
            self.deliver(topic, payload, min(qos, entry.qos), to: subscriber)
        }
    }

    private func acknowledge(_ identifier: [UInt8], _ qos: UInt8, isRefused: Bool, _ client: Int32) {
        let code: [UInt8] = isRefused ? [0x97] : []
        self.clients[client]?.unacknowledged += 1
        let unacknowledged = self.clients[client]?.unacknowledged ?? 0
        self.monitor.locked {
            self.noticed.mostUnacknowledged = max(self.noticed.mostUnacknowledged, unacknowledged)
        }
        guard !self.behaviour.isMute else { return }
        if self.clients[client]?.held.isEmpty == true { self.clients[client]?.heldSince = Clock.monotonic() }
        self.clients[client]?.held.append(Self.packet(qos == 1 ? 0x40 : 0x50, identifier + code))
        self.sendHeld(to: client, isLate: false)
    }

    private func sendHeld(to client: Int32, isLate: Bool) {
        guard let entry = self.clients[client], !entry.held.isEmpty else { return }
        let waited = Clock.monotonic() - entry.heldSince
        guard
            entry.held.count >= self.behaviour.acknowledgesTogether
                || isLate && waited > 20 * Nanoseconds.perMillisecond
        else { return }
        for bytes in entry.held {
            // PUBREC that takes a message is not the end of it.
            if bytes[0] == 0x40 || bytes.count > 4 { self.clients[client]?.unacknowledged -= 1 }
            self.send(bytes, to: client)
        }
        self.clients[client]?.held = []
    }

    private func deliver(_ topic: [UInt8], _ payload: [UInt8], _ qos: UInt8, to client: Int32) {
        self.deliveries += 1
        if self.behaviour.dropsEvery > 0, self.deliveries % self.behaviour.dropsEvery == 0 { return }
        var payload = payload
        if self.behaviour.damagesEvery > 0, self.deliveries % self.behaviour.damagesEvery == 0 {
            for index in self.behaviour.damage { payload[index] ^= 0xFF }
        }
        let identifier = (self.clients[client]?.identifier ?? 0) % UInt16.max + 1
        self.clients[client]?.identifier = identifier
        let bytes = Self.packet(
            0x30 | qos << 1,
            topic + (qos > 0 ? [UInt8(identifier >> 8), UInt8(identifier & 0xFF)] : [])
                + (self.clients[client]?.version == 5 ? [0] : []) + payload
        )
        if self.isStalling { self.stalled.append((client, bytes)) } else { self.send(bytes, to: client) }
    }
}
