import Common

/// What clients sent and got, and what of it must not be.
final class Ledger {
    struct Message {
        enum Outcome {
            /// Nobody knows whether it arrived.
            case open
            case acknowledged
            case refused
        }

        var topic: String
        var qos: QoS
        var number: Int
        /// Counts what happened in the whole run.
        var sentAt: Int
        var outcome = Outcome.open
        /// While a full disk had messages refused.
        var isSentInDoubt = false
        /// Its sender came back without an answer: it may have been refused, which nobody heard.
        var isSentAgain = false
        var mayHaveBeenRefused: Bool { self.outcome == .refused || (self.isSentInDoubt && self.isSentAgain) }
    }

    struct Will {
        enum End {
            case open
            /// The earliest instant at which the broker can have seen it.
            case abrupt(Instant)
            case withDisconnect
            /// Nobody knows what the broker saw.
            case unknown
        }

        var delay: UInt64
        let connection: ClientConnection
        var end = End.open
        /// The client's next connection was accepted.
        var nextConnectionAt: Instant?
        var publications = 0
    }

    private(set) var faults: [String] = []
    private(set) var messages: [String: Message] = [:]
    /// In the order in which they were sent.
    private(set) var sent: [String] = []
    var wills: [String: Will] = [:]
    private var events = 0
    /// Writes down what happens.
    var isVerbose = false
    private let clock: SimulatedClock
    private let began: Instant

    init(clock: SimulatedClock) {
        self.clock = clock
        self.began = clock.now
    }

    func fault(_ text: String) {
        let milliseconds = (self.clock.now - self.began) / Nanoseconds.perMillisecond
        self.note("FAULT \(text)")
        if self.faults.count < 20 { self.faults.append("\(text) (after \(milliseconds) ms)") }
    }

    /// Something that helps to understand a fault.
    func note(_ text: @autoclosure () -> String) {
        guard self.isVerbose else { return }
        print("\(Double(self.clock.now - self.began) / 1e6) ms: \(text())")
    }

    func tick() -> Int {
        self.events += 1
        return self.events
    }

    func sends(_ message: Message, payload: String) {
        self.messages[payload] = message
        self.sent.append(payload)
    }

    func isSentAgain(_ payload: String) {
        self.messages[payload]?.isSentAgain = true
    }

    func ended(_ payload: String, _ outcome: Message.Outcome) {
        self.messages[payload]?.outcome = outcome
    }

    // MARK: Wills

    func willCame(_ payload: String) {
        guard var will = self.wills[payload] else { return self.fault("a will that nobody has: \(payload)") }
        will.publications += 1
        self.note("\(payload) came")
        self.wills[payload] = will
        if will.publications > 1 { self.fault("\(payload) came twice") }
        switch will.end {
        case .open:
            let isConnected = will.connection.isOpen && !will.connection.hasLostListener
            if isConnected { self.fault("\(payload) came, and its client is connected") }
        case .unknown: break
        case .withDisconnect: self.fault("\(payload) came, and its client said goodbye")
        case .abrupt(let end):
            let due = end + will.delay
            if self.clock.now < due {
                self.fault("\(payload) came \((due - self.clock.now) / 1_000_000) ms early")
            }
            if will.delay > 0, let next = will.nextConnectionAt, next < due {
                self.fault("\(payload) came, and its client was back in time")
            }
        }
    }

    /// For the end, when all wills had their time.
    ///
    /// - Parameter calmSince: a client that loses its connection by the broker's fault has some seconds to come back, and its will is
    ///   not published then.
    func checkWills(calmSince: Instant) {
        for (payload, will) in self.wills.sorted(by: { $0.key < $1.key }) where will.publications == 0 {
            guard case .abrupt(let end) = will.end, end > calmSince + 2 * Nanoseconds.perSecond else { continue }
            let wasBack = will.delay > 0 && will.nextConnectionAt.map { $0 < end + will.delay + 100_000_000 } ?? false
            if !wasBack { self.fault("\(payload) never came") }
        }
    }

    // MARK: Messages

    /// For the end, when everybody had time to get everything.
    /// - Parameter linksBroke: what was on a link that broke, and is nowhere else, goes with a router that dies next.
    func check(_ receiver: Receiver, linksBroke: Bool) {
        // Of a session that ends with its connection that is since the connection that it has now.
        for filter in (linksBroke ? receiver.subscribedAt : receiver.orderedSince).sorted(by: { $0.key < $1.key }) {
            let due = self.sent.filter { payload in
                guard let message = self.messages[payload], message.topic.hasPrefix(filter.key) else { return false }
                return message.outcome == .acknowledged && message.qos != .atMostOnce && message.sentAt > filter.value
            }
            let lost = due.filter { receiver.came[$0] == nil }
            if !lost.isEmpty { self.fault("\(receiver.name) never got \(lost.count): \(lost.prefix(3))") }
        }
        for (payload, count) in receiver.came.sorted(by: { $0.key < $1.key }) where count > 1 {
            guard let message = self.messages[payload], !receiver.mayComeAgain(message) else { continue }
            self.fault("\(receiver.name) got \(payload) \(count) times")
        }
        var last: [String: Int] = [:]
        for payload in receiver.order {
            guard let message = self.messages[payload] else { continue }
            // A message that was refused may be sent on when others are; and one that its client left without an answer goes on when its
            // listener is heard, while the client may be elsewhere.
            guard !message.mayHaveBeenRefused, message.qos == .atMostOnce || message.outcome == .acknowledged else {
                continue
            }
            if message.number < last[message.topic] ?? 0 { self.fault("\(receiver.name) got \(payload) too late") }
            last[message.topic] = message.number
        }
    }

    /// Members of a shared subscription get each message once, all together.
    func checkGroup(_ members: [Receiver]) {
        let subscribed = members.compactMap { $0.subscribedAt["t/"] }.min() ?? .max
        for payload in self.sent {
            guard let message = self.messages[payload], message.topic.hasPrefix("t/") else { continue }
            let count = members.reduce(0) { $0 + ($1.came[payload] ?? 0) }
            let isDue = message.outcome == .acknowledged && message.qos != .atMostOnce && message.sentAt > subscribed
            if count == 0, isDue { self.fault("nobody of the group got \(payload)") }
            if count > 1, message.qos != .atLeastOnce { self.fault("the group got \(payload) \(count) times") }
        }
    }

    /// What a new subscriber gets of a topic must be the last value that was acknowledged there, or a later one.
    func checkRetained(_ retained: [String: String]) {
        let acknowledged = self.messages.values.filter { $0.topic.hasPrefix("r/") && $0.outcome == .acknowledged }
        let newest = Dictionary(acknowledged.map { ($0.topic, $0.number) }, uniquingKeysWith: max)
        for (topic, acknowledged) in newest.sorted(by: { $0.key < $1.key }) {
            let number = retained[topic].flatMap { self.messages[$0]?.number } ?? 0
            guard number < acknowledged else { continue }
            self.fault("\(topic) retains \(number), and \(acknowledged) was acknowledged")
        }
    }
}
