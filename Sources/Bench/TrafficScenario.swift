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
    private var publishers: [Publisher] = []
    /// Of each subscriber, of each publisher that it hears.
    private var ledgers: [[DeliveryLedger]] = []
    private var latencies = Histogram()
    private var isMeasuring = false
    private var isSending = false
    private var deliveries = 0
    private var published = 0
    private var corrupt = 0
    private var refusals: [UInt8: Int] = [:]
    /// Publishers that the broker's rules have refused a message.
    private var deniedPublishers: Set<UInt32> = []
    /// Messages that the broker took with an acknowledgement.
    private var accepted = 0
    private var nextPublisher = 0
    private var rateBegan: Instant = 0
    private var rateSent = 0
    /// Of those: their publishers had lost their connections.
    private var unsent = 0

    init(_ fleet: BenchFleet, _ shape: Shape) {
        self.shape = shape
        super.init(fleet)
    }

    /// How many get each message.
    private var receivers: Int { self.shape == .pairs ? 1 : self.subscribers.count }
    private var window: Int { max(1, min(self.options.window, self.receiveMaximum)) }

    private func topic(_ index: Int) -> String {
        self.shape == .fanout ? "\(self.prefix)/all" : "\(self.prefix)/\(index)/value"
    }

    override func run() throws {
        let isPairs = self.shape == .pairs
        let subscriberCount = isPairs ? self.options.clients : self.options.subscribers
        let publisherCount = isPairs ? self.options.clients : self.options.publishers
        self.subscribers = self.makeClients(subscriberCount)
        let publishing = self.makeClients(publisherCount, from: subscriberCount)
        let all = self.subscribers + publishing
        try self.connect(all, keepsSession: self.options.keepsSessions)
        self.publishers = publishing.enumerated().map { index, client in
            Publisher(
                client,
                index: index,
                topic: self.topic(index),
                qos: self.options.qos,
                payloadBytes: self.options.payloadBytes
            )
        }
        self.ledgers = .init(
            repeating: .init(repeating: DeliveryLedger(), count: isPairs ? 1 : publisherCount),
            count: subscriberCount
        )
        try self.subscribe(self.subscribers, qos: self.options.qos) {
            self.shape == .fanin ? "\(self.prefix)/+/value" : self.topic($0)
        }
        // Those that were not refused can be measured.
        try self.requireSubscriptions(atLeast: 1)
        self.begin()
        try self.fleet.run(seconds: self.options.warmUpSeconds) { self.areAllDenied }
        try self.measure()
        self.isSending = false
        try self.drain()
        // With a rate there may be publishers whose turn never came.
        if self.accepted == 0 { try self.requireAuthorization() }
        self.judge()
        for client in all { client.close() }
    }

    /// Whatever is still sent will be refused by the broker's rules too.
    private var areAllDenied: Bool { self.accepted == 0 && self.deniedPublishers.count == self.publishers.count }

    private func measure() throws {
        let (before, own) = (BrokerUsage.now(self.options.processes), BrokerUsage.ownCPUSeconds())
        let began = Clock.monotonic()
        (self.deliveries, self.published, self.isMeasuring) = (0, 0, true)
        try self.fleet.run(seconds: self.options.seconds, progress: { "\(self.deliveries) messages delivered" }) {
            self.areAllDenied
        }
        self.isMeasuring = false
        if self.areAllDenied { try self.requireAuthorization() }
        let seconds = Double(Clock.monotonic() - began) / 1e9
        let after = BrokerUsage.now(self.options.processes)
        self.report.add("scenario", self.shape.rawValue)
        self.report.add("subscribers", self.subscribers.count)
        self.report.add("publishers", self.publishers.count)
        self.report.add("qos", Int(self.options.qos.rawValue))
        self.report.add("payload_bytes", self.options.payloadBytes)
        self.report.add("published_per_s", Double(self.published) / seconds)
        self.report.add("delivered_per_s", Double(self.deliveries) / seconds)
        self.report.add("latency", self.latencies)
        self.addUsage("message", from: before, to: after, count: self.deliveries, seconds: seconds)
        self.report.add("own_cores", (BrokerUsage.ownCPUSeconds() - own) / seconds)
    }

    // MARK: Sending

    private func begin() {
        self.isSending = true
        self.rateBegan = Clock.monotonic()
        if self.options.rate == nil {
            for publisher in self.publishers { self.fill(publisher) }
        } else {
            self.sendDue()
        }
    }

    /// As much as the window allows.
    private func fill(_ publisher: Publisher) {
        guard self.isSending, self.options.rate == nil else { return }
        let room = self.window - publisher.underWay(receivers: self.receivers)
        guard room > 0 else { return }
        let now = Clock.monotonic()
        for _ in 0..<room { publisher.send(due: now) }
        if self.isMeasuring { self.published += room }
    }

    private static let rateStepNanoseconds: UInt64 = 500_000

    /// What is due by now goes out with the moment at which it was due, however late it is: a broker that stalls is charged for it.
    private func sendDue() {
        guard self.isSending, let rate = self.options.rate, rate > 0 else { return }
        let now = Clock.monotonic()
        let due = Int(Double(now - self.rateBegan) / 1e9 * rate)
        while self.rateSent < due {
            let moment = self.rateBegan + UInt64(Double(self.rateSent + 1) / rate * 1e9)
            let publisher = self.publishers[self.nextPublisher]
            self.nextPublisher = (self.nextPublisher + 1) % self.publishers.count
            self.rateSent += 1
            guard publisher.client.state == .open else {
                self.unsent += 1
                continue
            }
            publisher.send(due: min(moment, now))
            if self.isMeasuring { self.published += 1 }
        }
        self.fleet.loop.schedule(afterNanoseconds: Self.rateStepNanoseconds) { [weak self] in self?.sendDue() }
    }

    override func acknowledged(_ client: BenchClient, _ type: PacketType, identifier: UInt16, reason: UInt8) {
        self.countRefusal(reason)
        if reason >= 0x80 { self.refusals[reason, default: 0] += 1 } else { self.accepted += 1 }
        // A PUBREC that refuses is the last of its exchange.
        guard type != .pubrec || reason >= 0x80 else { return }
        let publisher = self.publishers[client.number - self.subscribers.count]
        if reason == ReasonCode.notAuthorized.rawValue { self.deniedPublishers.insert(publisher.index) }
        publisher.wasAcknowledged()
        self.fill(publisher)
    }

    // MARK: Receiving

    override func received(_ client: BenchClient, _ publish: PublishView, in packet: UnsafeRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: packet[publish.payload])
        guard let stamp = MessageStamp(payload, count: self.options.payloadBytes),
            Int(stamp.publisher) < self.publishers.count
        else {
            self.corrupt += 1
            return
        }
        let place = self.shape == .pairs ? 0 : Int(stamp.publisher)
        if self.shape == .pairs, Int(stamp.publisher) != client.number {
            self.corrupt += 1
            return
        }
        guard self.ledgers[client.number][place].receive(stamp.sequence) else { return }
        if self.isMeasuring {
            self.deliveries += 1
            self.latencies.record(Clock.monotonic() &- stamp.due)
        }
        let publisher = self.publishers[Int(stamp.publisher)]
        publisher.delivered += 1
        self.fill(publisher)
    }

    // MARK: The end

    /// Until everything has arrived, or nothing comes any more.
    private func drain() throws {
        var (last, since) = (-1, Clock.monotonic())
        try self.fleet.run(seconds: 60) {
            let waiting = self.publishers.reduce(0) { $0 + $1.underWay(receivers: self.receivers) }
            if waiting != last { (last, since) = (waiting, Clock.monotonic()) }
            return waiting == 0 || Clock.monotonic() - since > 3 * Nanoseconds.perSecond
        }
    }

    private func judge() {
        var (lost, duplicates, outOfOrder) = (0, 0, 0)
        for (place, ledgers) in self.ledgers.enumerated() {
            for (index, ledger) in ledgers.enumerated() {
                lost += ledger.lost(ofSent: self.publishers[self.shape == .pairs ? place : index].sent)
                duplicates += ledger.duplicates
                outOfOrder += ledger.outOfOrder
            }
        }
        for (name, count) in [
            ("lost", lost), ("duplicates", duplicates), ("out_of_order", outOfOrder), ("corrupt", self.corrupt),
        ] {
            self.report.add(name, count)
            if count > 0 { self.report.complain("\(name): \(count)") }
        }
        if self.unsent > 0 {
            self.report.complain("\(self.unsent) messages were not sent: their connections had ended")
        }
        for (code, count) in self.refusals.sorted(by: { $0.key < $1.key }) {
            self.report.complain("\(count) messages were refused with 0x\(String(code, radix: 16))")
        }
        self.complainAboutSubscriptions()
        self.complainAboutLosses()
    }
}
