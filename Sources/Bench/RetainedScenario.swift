import Common

/// Many retained messages, then new subscribers to all of them; they are removed at the end.
final class RetainedScenario: Scenario {
    private var publisher: Publisher?
    private var subscribers: [BenchClient] = []
    private var seen: [Set<UInt32>] = []
    private var received = 0
    private var duplicates = 0
    /// Retained messages that were sent.
    private var sent = 0
    /// QoS 0 is for those who subscribe: nobody says of a message of QoS 0 that it is stored.
    private var publishingQoS: QoS { max(self.options.qos, .atLeastOnce) }

    private func topic(_ index: Int) -> String { "\(self.prefix)/\(index / 1000)/\(index)" }

    override func run() throws {
        let count = self.options.count
        let publishing = self.makeClients(1, from: self.options.subscribers)
        self.subscribers = self.makeClients(self.options.subscribers)
        self.seen = .init(repeating: [], count: self.subscribers.count)
        try self.connect(publishing + self.subscribers, atLeast: 2)
        try self.requireConnection(publishing[0], "nobody publishes")
        self.subscribers.removeAll { $0.state != .open }
        do {
            try self.measure(count, publishing[0])
        } catch {
            // What the broker took is not left there.
            self.isNotAuthorized = false
            do {
                try self.remove(publishing[0])
            } catch let failure where self.fleet.isInterrupted {
                throw BenchFailure("\(error); retained messages may be left at \(self.prefix)/#: \(failure)")
            } catch {}
            throw error
        }
        for client in self.subscribers { client.close() }
        do {
            try self.remove(publishing[0])
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
        let last = try self.awaitMessages(wanted, "retained", self.subscribers) { self.received }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("scenario", "retained")
        self.report.add("retained", count)
        self.report.add("subscribers", self.subscribers.count)
        self.report.add("stored_per_s", Double(count) / stored)
        self.report.add("delivered_per_s", Double(self.received) / max(Double(last - began) / 1e9, 1e-9))
        self.addUsage("message", from: between, to: after, count: self.received, seconds: seconds)
        if self.isUsageKnown(between) {
            self.report.add("broker_bytes_per_retained", Double(between.bytes - before.bytes) / Double(max(1, count)))
        }
        self.judgeMissing(wanted - self.received)
        self.complainAboutSubscriptions()
        if self.duplicates > 0 { self.report.complain("duplicates: \(self.duplicates)") }
        if self.refused > 0 { self.report.complain("refused: \(self.refused)") }
    }

    private func remove(_ client: BenchClient) throws {
        if client.state != .open { try self.connect([client]) }
        _ = try self.publish(self.sent, client, bytes: nil)
    }

    /// - Parameter bytes: nil: an empty message, which removes the retained one.
    /// - Returns: seconds until the last acknowledgement.
    private func publish(_ count: Int, _ client: BenchClient, bytes: Int?) throws -> Double {
        let began = Clock.monotonic()
        let publisher = Publisher(
            client,
            index: Int(self.tag),
            topic: self.topic(0),
            qos: self.publishingQoS,
            payloadBytes: bytes ?? 0
        )
        self.publisher = publisher
        let window = self.storingWindow(self.publishingQoS)
        var sent = 0
        try self.run(
            untilQuietFor: Self.acknowledgementNanoseconds,
            progress: { "\(sent) of \(count) retained messages \(bytes == nil ? "removed" : "sent")" },
            count: { publisher.acknowledged }
        ) { _ in
            while client.state == .open, sent < count, sent - publisher.acknowledged < window {
                if bytes == nil {
                    self.clear(sent, client)
                } else {
                    publisher.setTopic(self.topic(sent), self.options.payloadBytes, true)
                    publisher.send(due: began)
                }
                sent += 1
            }
            if bytes != nil { self.sent = sent }
            return publisher.acknowledged >= count || self.isNotAuthorized || client.state != .open
        }
        try self.requireAuthorization()
        if publisher.acknowledged < count {
            try self.requireConnection(
                client,
                "\(publisher.acknowledged) of \(count) retained messages were acknowledged"
            )
        }
        if self.fleet.isInterrupted, bytes != nil, publisher.acknowledged < count {
            // Their acknowledgements must not be taken for those of what removes them.
            try self.fleet.run(seconds: 10) { publisher.acknowledged >= sent || client.state != .open }
            throw BenchFailure(
                "the run was interrupted when \(publisher.acknowledged) of \(count) messages were stored"
            )
        }
        if publisher.acknowledged < count {
            throw BenchFailure("\(count - publisher.acknowledged) retained messages were not acknowledged")
        }
        return Double(Clock.monotonic() - began) / 1e9
    }

    private func clear(_ index: Int, _ client: BenchClient) {
        PublishPacket(
            qos: self.publishingQoS,
            retain: true,
            topic: Array(self.topic(index).utf8),
            packetIdentifier: UInt16(index % 65_535) + 1
        ).encode(into: &client.output, version: client.version)
        client.markDirty()
    }

    override func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {
        self.countRefusal(reason)
        if self.isLast(type, reason: reason) { self.publisher?.wasAcknowledged() }
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
