import Common

/// Many retained messages, then new subscribers to all of them; they are removed at the end.
final class RetainedScenario: Scenario {
    private var publisher: Publisher?
    private var subscribers: [BenchClient] = []
    private var seen: [Set<UInt32>] = []
    private var received = 0
    private var duplicates = 0

    private func topic(_ index: Int) -> String { "\(self.prefix)/\(index / 1000)/\(index)" }

    override func run() throws {
        let count = self.options.count
        let publishing = self.makeClients(1, from: self.options.subscribers)
        self.subscribers = self.makeClients(self.options.subscribers)
        self.seen = .init(repeating: [], count: self.subscribers.count)
        try self.connect(publishing + self.subscribers)
        do {
            try self.measure(count, publishing[0])
        } catch {
            // What the broker took is not left there.
            self.isNotAuthorized = false
            try? self.remove(count, publishing[0])
            throw error
        }
        for client in self.subscribers { client.close() }
        do {
            try self.remove(count, publishing[0])
        } catch {
            self.report.complain("retained messages may be left at \(self.prefix)/#: \(error)")
        }
        self.complainAboutLosses()
        publishing[0].close()
    }

    private func measure(_ count: Int, _ client: BenchClient) throws {
        let before = BrokerUsage.now(self.options.processes)
        let stored = try self.publish(count, client, bytes: self.options.payloadBytes)
        let between = BrokerUsage.now(self.options.processes)
        let began = Clock.monotonic()
        // All at once: who asks is answered while others are.
        try self.subscribe(self.subscribers, qos: self.options.qos) { _ in "\(self.prefix)/#" }
        let wanted = count * self.subscribers.count
        try self.requireSubscriptions()
        try self.awaitMessages(wanted, "retained", self.subscribers) { self.received }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("scenario", "retained")
        self.report.add("retained", count)
        self.report.add("subscribers", self.subscribers.count)
        self.report.add("stored_per_s", Double(count) / stored)
        self.report.add("delivered_per_s", Double(self.received) / seconds)
        self.addUsage("message", from: between, to: after, count: self.received, seconds: seconds)
        if !self.options.processes.isEmpty {
            self.report.add("broker_bytes_per_retained", Double(between.bytes - before.bytes) / Double(max(1, count)))
        }
        self.report.add("lost", wanted - self.received)
        if self.received < wanted { self.report.complain("lost: \(wanted - self.received)") }
        if self.duplicates > 0 { self.report.complain("duplicates: \(self.duplicates)") }
        if self.refused > 0 { self.report.complain("refused: \(self.refused)") }
    }

    private func remove(_ count: Int, _ client: BenchClient) throws {
        if client.state != .open { try self.connect([client]) }
        _ = try self.publish(count, client, bytes: nil)
    }

    /// - Parameter bytes: nil: an empty message, which removes the retained one.
    /// - Returns: seconds until the last acknowledgement.
    private func publish(_ count: Int, _ client: BenchClient, bytes: Int?) throws -> Double {
        let began = Clock.monotonic()
        let publisher = Publisher(
            client,
            index: Int(self.tag),
            topic: self.topic(0),
            qos: .atLeastOnce,
            payloadBytes: bytes ?? 0
        )
        self.publisher = publisher
        let window = max(1, min(self.options.window * 16, self.receiveMaximum))
        var sent = 0
        let isDone = try self.fleet.run(seconds: 600, progress: { "\(sent) of \(count) retained messages sent" }) {
            while client.state == .open, sent < count, sent - Int(publisher.acknowledged) < window {
                if bytes == nil {
                    self.clear(sent, client)
                } else {
                    publisher.setTopic(self.topic(sent), self.options.payloadBytes, true)
                    publisher.send(due: began)
                }
                sent += 1
            }
            return publisher.acknowledged >= count || self.isNotAuthorized || client.state != .open
        }
        try self.requireAuthorization()
        if publisher.acknowledged < count {
            try self.requireConnection(
                client,
                "\(publisher.acknowledged) of \(count) retained messages were acknowledged"
            )
        }
        if !isDone {
            throw BenchFailure("\(count - Int(publisher.acknowledged)) retained messages were not acknowledged")
        }
        return Double(Clock.monotonic() - began) / 1e9
    }

    private func clear(_ index: Int, _ client: BenchClient) {
        PublishPacket(
            qos: .atLeastOnce,
            retain: true,
            topic: Array(self.topic(index).utf8),
            packetIdentifier: UInt16(index % 65_535) + 1
        ).encode(into: &client.output, version: client.version)
        client.markDirty()
    }

    override func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {
        self.countRefusal(reason)
        self.publisher?.wasAcknowledged()
    }

    override func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: packet[publish.payload])
        guard let stamp = MessageStamp(payload, count: self.options.payloadBytes), stamp.publisher == self.tag,
            Int(stamp.sequence) < self.options.count, client.number < self.seen.count
        else { return }
        if self.seen[client.number].insert(stamp.sequence).inserted {
            self.received += 1
        } else {
            self.duplicates += 1
        }
    }
}
