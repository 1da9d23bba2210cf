import Common

/// Sessions whose clients are away get messages, and then the clients come for them.
final class OfflineScenario: Scenario {
    private var publisher: Publisher?
    private var ledgers: [DeliveryLedger] = []
    private var received = 0
    /// QoS 0 is not kept for who is away.
    private var qos: QoS { max(self.options.qos, .atLeastOnce) }

    override func run() throws {
        let clients = self.makeClients(self.options.clients)
        let publishing = self.makeClients(1, from: clients.count)
        // An interrupted run may have left its sessions. MQTT 3.1.1 cannot end one and begin another with the same CONNECT.
        if self.options.version != .v5_0 {
            try self.connect(clients)
            for client in clients { client.close() }
        }
        do {
            try self.connect(clients, keepsSession: true)
        } catch {
            if self.fleet.isInterrupted { try? self.endSessions(clients) }
            throw error
        }
        do {
            try self.measure(self.options.count, clients, publishing)
        } catch {
            do {
                try self.endSessions(clients)
            } catch let failure where self.fleet.isInterrupted {
                throw BenchFailure("\(error); sessions may be left at the broker: \(failure)")
            } catch {}
            throw error
        }
        do {
            try self.endSessions(clients)
        } catch {
            self.report.complain("sessions may be left at the broker: \(error)")
        }
        for client in clients + publishing { client.close() }
        self.complainAboutLosses()
    }

    /// They end with a connection that does not want to keep them.
    private func endSessions(_ clients: [BenchClient]) throws {
        for client in clients { client.close() }
        try self.connect(clients)
    }

    private func measure(_ count: Int, _ clients: [BenchClient], _ publishing: [BenchClient]) throws {
        self.ledgers = .init(repeating: DeliveryLedger(), count: clients.count)
        try self.subscribe(clients, qos: self.qos) { "\(self.prefix)/\($0)" }
        try self.requireSubscriptions()
        for client in clients { client.close() }
        try self.connect(publishing)
        let before = BrokerUsage.now(self.options.processes)
        let queueing = try self.queue(count, clients.count, publishing[0])
        let between = BrokerUsage.now(self.options.processes)
        let began = Clock.monotonic()
        // Messages of a client that cannot come back are lost.
        try self.connect(clients, cleanStart: false, keepsSession: true, atLeast: 0)
        let wanted = count * clients.count
        let last = try self.awaitMessages(wanted, "queued", clients) { self.received }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("scenario", "offline")
        self.report.add("clients", clients.count)
        self.report.add("messages", wanted)
        self.report.add("queued_per_s", Double(wanted) / queueing)
        self.report.add("drained_per_s", Double(self.received) / max(Double(last - began) / 1e9, 1e-9))
        if self.isUsageKnown(between) {
            self.report.add("broker_bytes_per_queued", Double(between.bytes - before.bytes) / Double(max(1, wanted)))
        }
        self.addUsage("message", from: between, to: after, count: self.received, seconds: seconds)
        self.judge()
    }

    /// - Returns: seconds until the last acknowledgement.
    private func queue(_ count: Int, _ sessions: Int, _ client: BenchClient) throws -> Double {
        let began = Clock.monotonic()
        let publisher = Publisher(
            client,
            index: Int(self.tag),
            topic: "\(self.prefix)/0",
            qos: self.qos,
            payloadBytes: self.options.payloadBytes
        )
        self.publisher = publisher
        let window = self.storingWindow(self.qos)
        let wanted = count * sessions
        try self.run(
            untilQuietFor: Self.acknowledgementNanoseconds,
            progress: { "\(publisher.sent) of \(wanted) messages sent" },
            count: { publisher.acknowledged }
        ) { _ in
            while client.state == .open, publisher.sent < wanted,
                publisher.sent - publisher.acknowledged < window
            {
                publisher.setTopic("\(self.prefix)/\(publisher.sent % sessions)", self.options.payloadBytes)
                publisher.send(due: began)
            }
            return publisher.acknowledged >= wanted || self.isNotAuthorized || client.state != .open
        }
        try self.requireAuthorization()
        if publisher.acknowledged < wanted {
            try self.requireConnection(client, "\(publisher.acknowledged) of \(wanted) messages were acknowledged")
        }
        if self.fleet.isInterrupted, publisher.acknowledged < wanted {
            throw BenchFailure(
                "the run was interrupted when \(publisher.acknowledged) of \(wanted) messages were queued"
            )
        }
        if publisher.acknowledged < wanted {
            throw BenchFailure("\(wanted - publisher.acknowledged) messages were not acknowledged")
        }
        return Double(Clock.monotonic() - began) / 1e9
    }

    override func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {
        self.countRefusal(reason)
        if self.isLast(type, reason: reason) { self.publisher?.wasAcknowledged() }
    }

    override func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: packet[publish.payload])
        guard let stamp = MessageStamp(payload, count: self.options.payloadBytes), stamp.publisher == self.tag,
            Int(stamp.sequence) < self.options.count * self.ledgers.count, client.number < self.ledgers.count
        else { return }
        // Messages go to the sessions in turn.
        let sequence = stamp.sequence / UInt32(self.ledgers.count)
        if self.ledgers[client.number].receive(sequence) { self.received += 1 }
    }

    private func judge() {
        let lost = self.ledgers.reduce(0) { $0 + $1.lost(ofSent: self.options.count) }
        let duplicates = self.ledgers.reduce(0) { $0 + $1.duplicates }
        self.judgeMissing(lost)
        self.complainAboutSubscriptions()
        let outOfOrder = self.ledgers.reduce(0) { $0 + $1.outOfOrder }
        for (name, count) in [
            ("duplicates", duplicates), ("out_of_order", outOfOrder), ("refused", self.refused),
        ] {
            self.report.add(name, count)
            if count > 0 { self.report.complain("\(name): \(count)") }
        }
    }
}
