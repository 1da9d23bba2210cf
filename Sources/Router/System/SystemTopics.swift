import Common

/// What the broker says of itself below `$SYS/broker`: names and values that monitoring programs know from other brokers.
struct SystemTopics {
    private let intervalNanoseconds: UInt64
    /// When to publish next; nil: never.
    private(set) var due: Instant?
    private var started: Instant?
    private var lastUpdate: Instant = 0
    private var loads = Array(repeating: LoadAverage(), count: 8)
    /// What was published last, by place in `lines`.
    private var published: [String] = []

    /// The first time is at once.
    init(intervalNanoseconds: UInt64) {
        self.intervalNanoseconds = intervalNanoseconds
        self.due = intervalNanoseconds > 0 ? 0 : nil
    }

    /// The topics whose values have changed, `$SYS/broker/` left out.
    mutating func update(_ figures: Figures, now: Instant) -> [(topic: String, value: String)] {
        let started = self.started ?? now
        self.started = started
        self.due = now &+ self.intervalNanoseconds
        for (index, load) in figures.loads.enumerated() {
            self.loads[index].update(load.count, elapsedNanoseconds: self.lastUpdate == 0 ? 0 : now &- self.lastUpdate)
        }
        self.lastUpdate = now
        let lines = self.lines(figures, uptimeSeconds: (now &- started) / Nanoseconds.perSecond)
        if self.published.count != lines.count { self.published = Array(repeating: "", count: lines.count) }
        var changed: [(topic: String, value: String)] = []
        for (index, line) in lines.enumerated() where line.value != self.published[index] {
            self.published[index] = line.value
            changed.append(line)
        }
        return changed
    }

    private func lines(_ figures: Figures, uptimeSeconds: UInt64) -> [(topic: String, value: String)] {
        let counters = figures.counters
        var lines: [(topic: String, value: String)] = [
            ("version", "Martlet \(ProgramVersion.text)"),
            ("uptime", "\(uptimeSeconds) seconds"),
            ("clients/connected", "\(figures.connected)"),
            ("clients/active", "\(figures.connected)"),
            ("clients/disconnected", "\(figures.sessions - figures.connected)"),
            ("clients/inactive", "\(figures.sessions - figures.connected)"),
            ("clients/maximum", "\(figures.connectedMax)"),
            ("clients/total", "\(figures.sessions)"),
            ("clients/expired", "\(counters.sessionsExpired)"),
            ("messages/received", "\(counters.packetsReceived)"),
            ("messages/sent", "\(counters.packetsSent)"),
            ("messages/stored", "\(figures.stored)"),
            ("store/messages/count", "\(figures.stored)"),
            ("store/messages/bytes", "\(figures.storedBytes)"),
            ("publish/messages/received", "\(counters.publishesReceived)"),
            ("publish/messages/sent", "\(counters.publishesSent)"),
            ("publish/messages/dropped", "\(counters.messagesDropped)"),
            ("publish/bytes/received", "\(counters.publishBytesReceived)"),
            ("publish/bytes/sent", "\(counters.publishBytesSent)"),
            ("bytes/received", "\(counters.packetBytesReceived)"),
            ("bytes/sent", "\(counters.packetBytesSent)"),
            ("subscriptions/count", "\(figures.subscriptions)"),
            ("retained messages/count", "\(figures.retained)"),
        ]
        for (index, load) in figures.loads.enumerated() {
            for (minutes, value) in zip(LoadAverage.minutes, self.loads[index].values) {
                lines.append(("load/\(load.name)/\(minutes)min", Self.text(value)))
            }
        }
        return lines
    }

    /// With two decimals.
    private static func text(_ value: Double) -> String {
        guard value.isFinite, value < 1e15 else { return "0.00" }
        let hundredths = UInt64(max(0, value * 100).rounded())
        let fraction = hundredths % 100
        return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
}

extension SystemTopics {
    /// What the topics are made of.
    struct Figures {
        var counters: RouterCounters
        var connected: Int
        var connectedMax: Int
        var sessions: Int
        var subscriptions: Int
        var retained: Int
        /// Retained messages and those in queues.
        var stored: Int
        var storedBytes: Int

        var loads: [(name: String, count: UInt64)] {
            [
                ("messages/received", self.counters.packetsReceived),
                ("messages/sent", self.counters.packetsSent),
                ("publish/received", self.counters.publishesReceived),
                ("publish/sent", self.counters.publishesSent),
                ("publish/dropped", self.counters.messagesDropped),
                ("bytes/received", self.counters.packetBytesReceived),
                ("bytes/sent", self.counters.packetBytesSent),
                ("connections", self.counters.connectsAccepted + self.counters.connectsRefused),
            ]
        }
    }
}

extension RouterCore {
    /// Publishes what has changed, retained and with QoS 0: a missed value is replaced by the next.
    mutating func publishSystemTopics() {
        let figures = SystemTopics.Figures(
            counters: self.counters,
            connected: self.connectedCount,
            connectedMax: self.connectedMax,
            sessions: self.sessionCount,
            subscriptions: self.subscriptionCount,
            retained: self.retainedCount,
            stored: self.retainedCount + self.queuedMessages,
            storedBytes: self.retainedBytes + self.queuedBytes
        )
        for line in self.system.update(figures, now: self.now) {
            let topic = Array("$SYS/broker/\(line.topic)".utf8)
            let value = Array(line.value.utf8)
            let message = topic.withUnsafeBytes { topic in
                value.withUnsafeBytes { value in
                    Message.make(
                        copying: MessageView(
                            topic: topic,
                            properties: UnsafeRawBufferPointer(start: nil, count: 0),
                            payload: value,
                            expiry: Instant.max,
                            qos: .atMostOnce,
                            retain: true
                        )
                    )
                }
            }
            _ = self.retained.store(message, isSystem: true)
            _ = self.route(message.view, kept: message, publisher: SubscriptionTrie.noSession)
        }
    }
}
