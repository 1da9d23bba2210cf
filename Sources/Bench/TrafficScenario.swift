import Common

/// Messages from publishers to subscribers: one topic for all (fan-out), one of each publisher and a wildcard (fan-in), or one for each
/// pair.
final class TrafficScenario: Scenario {
    enum Shape: String {
        case fanout
        case fanin
        case pairs
    }

    private let shape: Shape
    private var subscribers: [BenchClient] = []
    /// Numbers of those whose subscriptions were refused.
    private var refusedSubscribers: Set<Int> = []
    private var publishers: [TrafficPublisher] = []
    /// Of each subscriber, of each publisher that it hears.
    private var ledgers: [[DeliveryLedger]] = []
    /// Of messages that were due within the measured span, also of those that came after it.
    private var latencies = Histogram()
    private var (measuredFrom, measuredTo) = (Instant.max, Instant.max)
    private var isMeasuring = false
    private var isSending = false
    /// Within the measured span.
    private var deliveries = 0
    /// In all.
    private var arrived = 0
    private var published = 0
    private var corrupt = 0
    /// Messages whose places were given up.
    private var stalls = 0
    private var refusals: [UInt8: Int] = [:]
    /// Publishers that the broker's rules have refused a message.
    private var deniedPublishers: Set<UInt32> = []
    /// Messages that the broker took with an acknowledgement.
    private var accepted = 0
    private let filler: [UInt8]
    /// The least that any CONNACK said.
    private var maximumQoS: QoS?
    private var maximumPacketSize: UInt32?
    /// Clients that have been connected, and may have sessions.
    private var known: Set<Int> = []
    private var began: Instant = 0
    private var timer: PreciseTimer?
    private var nextPublisher = 0
    private var rateSent = 0
    /// Of those: their publishers had lost their connections.
    private var unsent = 0
    /// Why the run waited no longer for what is lost.
    private var drainEnd = ""

    init(_ fleet: BenchFleet, _ shape: Shape) {
        self.shape = shape
        self.filler = MessageStamp.filler(fleet.options.payloadBytes)
        super.init(fleet)
    }

    private var window: Int { max(1, min(self.options.window, self.receiveMaximum)) }

    private func topic(_ index: Int) -> String {
        self.shape == .fanout ? "\(self.prefix)/all" : "\(self.prefix)/\(index)/value"
    }

    override func run() throws {
        let isPairs = self.shape == .pairs
        self.subscribers = self.makeClients(isPairs ? self.options.clients : self.options.subscribers)
        let publishing = self.makeClients(
            isPairs ? self.options.clients : self.options.publishers,
            from: self.subscribers.count
        )
        let all = self.subscribers + publishing
        defer { self.timer?.end() }
        do {
            try self.connect(all, keepsSession: self.options.keepsSessions)
            try self.exchange(publishing)
        } catch {
            try? self.leave(all)
            throw error
        }
        do {
            try self.leave(all)
        } catch {
            self.report.complain("sessions may be left at the broker: \(error)")
        }
    }

    private func exchange(_ publishing: [BenchClient]) throws {
        try self.prepare(publishing)
        self.begin()
        try self.fleet.run(seconds: self.options.warmUpSeconds) { self.areAllDenied }
        let measured = try self.measure()
        try self.drain()
        // With a rate there may be publishers whose turn never came.
        if self.accepted == 0 { try self.requireAuthorization() }
        self.describe(measured)
        self.judge()
    }

    /// Sessions that outlive their connections end too: with DISCONNECT (MQTT 5.0, section 3.14.2.2.2), or with a connection that does not
    /// want to keep them.
    private func leave(_ all: [BenchClient]) throws {
        self.isSending = false
        let keeps = self.options.keepsSessions
        let left = all.filter {
            self.known.contains($0.number) && (self.options.version != .v5_0 || $0.state != .open)
        }
        for client in all { client.close(endsSession: keeps) }
        guard keeps, !left.isEmpty else { return }
        try self.connect(left)
        for client in left { client.close() }
    }

    /// What CONNACK says that the broker does not take is not sent: it would end the connection.
    private func requireOffer(_ publisher: TrafficPublisher) throws {
        if let most = self.maximumQoS, most < self.options.qos {
            throw BenchFailure("the broker's Maximum QoS is \(most.rawValue): take a lower --qos")
        }
        if let most = self.maximumPacketSize, publisher.packetBytes > Int(most) {
            throw BenchFailure(
                "the broker's Maximum Packet Size is \(most), and these PUBLISH are of \(publisher.packetBytes) bytes: take smaller --bytes"
            )
        }
    }

    override func opened(_ client: BenchClient, _ connack: ConnackPacket) {
        self.known.insert(client.number)
        if let most = connack.properties.maximumQoS { self.maximumQoS = min(self.maximumQoS ?? most, most) }
        if let most = connack.properties.maximumPacketSize {
            self.maximumPacketSize = min(self.maximumPacketSize ?? most, most)
        }
        super.opened(client, connack)
    }

    /// Subscriptions, and who publishes to how many.
    private func prepare(_ publishing: [BenchClient]) throws {
        try self.subscribe(self.subscribers, qos: self.options.qos) {
            self.shape == .fanin ? "\(self.prefix)/+/value" : self.topic($0)
        }
        // Those that were not refused can be measured.
        try self.requireSubscriptions(atLeast: 1)
        let isPairs = self.shape == .pairs
        self.publishers = publishing.enumerated().map { index, client in
            TrafficPublisher(
                Publisher(
                    client,
                    index: index,
                    topic: self.topic(index),
                    qos: self.options.qos,
                    payloadBytes: self.options.payloadBytes
                ),
                qos: self.options.qos,
                receivers: isPairs
                    ? (self.refusedSubscribers.contains(index) ? 0 : 1)
                    : self.subscribers.count - self.refusedSubscribers.count,
                sends: self.options.rate == nil ? .asWindowAllows : .byRate
            )
        }
        // The last one has the longest topic.
        if let publisher = self.publishers.last { try self.requireOffer(publisher) }
        self.ledgers = .init(
            repeating: .init(repeating: DeliveryLedger(), count: isPairs ? 1 : publishing.count),
            count: self.subscribers.count
        )
        if self.options.rate != nil { self.timer = try PreciseTimer(self.fleet.loop) }
    }

    override func subscribed(_ client: BenchClient, _ suback: SubackPacket) {
        super.subscribed(client, suback)
        if suback.returnCodes.contains(where: { $0 >= 0x80 }) { self.refusedSubscribers.insert(client.number) }
    }

    /// Whatever is still sent will be refused by the broker's rules too.
    private var areAllDenied: Bool { self.accepted == 0 && self.deniedPublishers.count == self.publishers.count }

    // MARK: Measuring

    private struct Measured {
        var seconds: Double
        var before: BrokerUsage
        var after: BrokerUsage
        var ownCores: Double
    }

    private func measure() throws -> Measured {
        let (before, own) = (BrokerUsage.now(self.options.processes), BrokerUsage.ownCPUSeconds())
        let began = Clock.monotonic()
        (self.deliveries, self.published, self.isMeasuring) = (0, 0, true)
        self.measuredFrom = began
        try self.fleet.run(seconds: self.options.seconds, progress: { "\(self.deliveries) messages delivered" }) {
            self.areAllDenied
        }
        let end = Clock.monotonic()
        // What was due to the last moment belongs to the run.
        self.sendDue(by: end)
        (self.measuredTo, self.isMeasuring, self.isSending) = (end, false, false)
        if self.areAllDenied { try self.requireAuthorization() }
        let seconds = Double(end - began) / 1e9
        return Measured(
            seconds: seconds,
            before: before,
            after: BrokerUsage.now(self.options.processes),
            ownCores: (BrokerUsage.ownCPUSeconds() - own) / seconds
        )
    }

    private func describe(_ measured: Measured) {
        self.report.add("scenario", self.shape.rawValue)
        self.report.add("subscribers", self.subscribers.count)
        self.report.add("publishers", self.publishers.count)
        self.report.add("qos", Int(self.options.qos.rawValue))
        self.report.add("payload_bytes", self.options.payloadBytes)
        self.report.add("published_per_s", Double(self.published) / measured.seconds)
        self.report.add("delivered_per_s", Double(self.deliveries) / measured.seconds)
        self.report.add("latency", self.latencies)
        self.addUsage(
            "message",
            from: measured.before,
            to: measured.after,
            count: self.deliveries,
            seconds: measured.seconds
        )
        self.report.add("own_cores", measured.ownCores)
    }

    // MARK: Sending

    private func begin() {
        self.isSending = true
        self.began = MessageStamp.rounded(Clock.monotonic())
        if self.options.rate == nil {
            for publisher in self.publishers { self.fill(publisher) }
            self.giveUpStalled()
        } else {
            self.sendByRate()
        }
    }

    /// As much as the window allows, or as is due.
    private func fill(_ publisher: TrafficPublisher) {
        let count: Int
        if self.options.rate != nil {
            // Also after the end: what was due within the run is a part of it.
            guard publisher.waiting > 0 else { return }
            count = publisher.sendDue(receiveMaximum: self.receiveMaximum, at: Clock.monotonic())
        } else {
            guard self.isSending else { return }
            count = publisher.fill(window: self.window, receiveMaximum: self.receiveMaximum)
        }
        if self.isMeasuring { self.published += count }
    }

    private static let stallNanoseconds = 2 * Nanoseconds.perSecond
    private static let stallCheckNanoseconds = 100 * Nanoseconds.perMillisecond

    /// A message that is lost must not keep its place in the window for ever.
    private func giveUpStalled() {
        guard self.isSending else { return }
        let now = Clock.monotonic()
        for publisher in self.publishers {
            self.stalls += publisher.giveUp(sentBefore: now - min(now, Self.stallNanoseconds))
            self.fill(publisher)
        }
        self.fleet.loop.schedule(afterNanoseconds: Self.stallCheckNanoseconds) { [weak self] in self?.giveUpStalled() }
    }

    /// Messages that are due within it go out together.
    private static let rateStepNanoseconds: UInt64 = 50_000

    private func sendByRate() {
        guard self.isSending else { return }
        self.sendDue(by: Clock.monotonic())
        let next = max(self.momentOfNext, Clock.monotonic() + Self.rateStepNanoseconds)
        self.timer?.schedule(at: next) { [weak self] in self?.sendByRate() }
    }

    /// At which the next message of `rate` is due.
    private var momentOfNext: Instant {
        guard let rate = self.options.rate, rate > 0 else { return .max }
        return self.began + UInt64(min(Double(self.rateSent + 1) / rate * 1e9, 1e18))
    }

    /// What is due by then goes out with the moment at which it was due, however late it is: a broker that stalls is charged for it.
    private func sendDue(by end: Instant) {
        var moment = self.momentOfNext
        while moment <= end {
            let publisher = self.publishers[self.nextPublisher]
            self.nextPublisher = (self.nextPublisher + 1) % self.publishers.count
            self.rateSent += 1
            if publisher.client.state == .open {
                publisher.queue(due: moment)
                self.fill(publisher)
            } else {
                self.unsent += 1
            }
            moment = self.momentOfNext
        }
    }

    override func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {
        let index = client.number - self.subscribers.count
        guard self.publishers.indices.contains(index) else { return }
        let (publisher, isRefusal) = (self.publishers[index], reason >= 0x80)
        if !isRefusal { self.accepted += 1 }
        // A PUBREC that refuses is the last of its exchange.
        let isLast = publisher.qos == .atLeastOnce ? type == .puback : type == .pubcomp || type == .pubrec && isRefusal
        guard isLast, publisher.acknowledged(identifier, isRefusal: isRefusal) else { return }
        self.countRefusal(reason)
        if isRefusal { self.refusals[reason, default: 0] += 1 }
        if reason == ReasonCode.notAuthorized.rawValue { self.deniedPublishers.insert(publisher.index) }
        self.fill(publisher)
    }

    // MARK: Receiving

    override func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: packet[publish.payload])
        let now = Clock.monotonic()
        guard let stamp = MessageStamp(payload, filler: self.filler), self.ledgers.indices.contains(client.number),
            self.publishers.indices.contains(Int(stamp.publisher)),
            self.shape != .pairs || Int(stamp.publisher) == client.number,
            let number = self.publishers[Int(stamp.publisher)].number(of: stamp.sequence),
            (self.began...now).contains(stamp.due)
        else {
            self.corrupt += 1
            return
        }
        let place = self.shape == .pairs ? 0 : Int(stamp.publisher)
        guard self.ledgers[client.number][place].receive(number) else { return }
        self.arrived += 1
        if self.isMeasuring { self.deliveries += 1 }
        if stamp.due >= self.measuredFrom, stamp.due < self.measuredTo { self.latencies.record(now - stamp.due) }
        let publisher = self.publishers[Int(stamp.publisher)]
        publisher.delivered(number)
        self.fill(publisher)
    }

    // MARK: The end

    private static let drainSeconds = 60

    /// Until everything has arrived, or nothing comes any more.
    private func drain() throws {
        let isOver = try self.run(
            untilQuietFor: self.fleet.quietNanoseconds,
            seconds: Double(Self.drainSeconds),
            count: { self.outstanding },
            until: { $0 == 0 }
        ).isOver
        self.drainEnd =
            isOver
            ? "had not come when nothing more came for \(self.options.quietSeconds) s"
            : "had not come \(Self.drainSeconds) s after the end"
    }

    /// Deliveries, acknowledgements and messages to be sent.
    private var outstanding: Int {
        var (expected, other) = (-self.arrived, 0)
        for publisher in self.publishers {
            expected += (publisher.sent - publisher.refused) * publisher.receivers
            if publisher.client.state == .open { other += publisher.unacknowledged + publisher.waiting }
        }
        return max(0, expected) + other
    }

    private func judge() {
        var (lost, duplicates, outOfOrder) = (0, 0, 0)
        for (place, ledgers) in self.ledgers.enumerated() where !self.refusedSubscribers.contains(place) {
            for (index, ledger) in ledgers.enumerated() {
                let publisher = self.publishers[self.shape == .pairs ? place : index]
                lost += max(0, ledger.lost(ofSent: publisher.sent) - publisher.refused)
                duplicates += ledger.duplicates
                outOfOrder += ledger.outOfOrder
            }
        }
        let unacknowledged = self.publishers.reduce(0) { $0 + $1.unacknowledged }
        for (name, count, more) in [
            ("lost", lost, ": they \(self.drainEnd)"), ("duplicates", duplicates, ""), ("out_of_order", outOfOrder, ""),
            ("corrupt", self.corrupt, ""),
            ("unacknowledged", unacknowledged, ": PUBACK, PUBREC or PUBCOMP \(self.drainEnd)"),
        ] {
            self.report.add(name, count)
            if count > 0 { self.report.complain("\(name): \(count)\(more)") }
        }
        self.report.add("refused", self.refused)
        self.report.add("stalls", self.stalls)
        self.complainAboutUnsent()
        for (code, count) in self.refusals.sorted(by: { $0.key < $1.key }) {
            self.report.complain("\(count) messages were refused with 0x\(String(code, radix: 16))")
        }
        self.complainAboutSubscriptions()
        self.complainAboutLosses()
    }

    private func complainAboutUnsent() {
        let waiting = self.publishers.filter { $0.waiting > 0 }
        let ended = waiting.filter { $0.client.state != .open }.reduce(self.unsent) { $0 + $1.waiting }
        if ended > 0 { self.report.complain("\(ended) messages were not sent: their connections had ended") }
        let held = waiting.filter { $0.client.state == .open }.reduce(0) { $0 + $1.waiting }
        if held > 0 {
            self.report.complain(
                "\(held) messages were not sent: the broker's Receive Maximum of \(self.receiveMaximum) was used up"
            )
        }
    }
}
