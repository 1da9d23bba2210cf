import Common

/// A publisher of a traffic run: what it has under way, and what is due and waits.
final class TrafficPublisher {
    private let publisher: Publisher
    let qos: QoS
    /// How many get each of its messages.
    let receivers: Int
    private let sends: Sends
    private var window = MessageWindow()
    private var identifiers = PacketIdentifiers()
    /// Moments at which messages were due that are not sent.
    private var due = FirstInFirstOut<Instant>()
    /// By an acknowledgement.
    private(set) var refused = 0

    enum Sends {
        /// The next one when one before has arrived everywhere.
        case asWindowAllows
        /// When a message is due.
        case byRate
    }

    init(_ publisher: Publisher, qos: QoS, receivers: Int, sends: Sends) {
        self.publisher = publisher
        self.qos = qos
        self.receivers = receivers
        self.sends = sends
    }

    var client: BenchClient { self.publisher.client }
    var index: UInt32 { self.publisher.index }
    var sent: Int { self.publisher.sent }
    var packetBytes: Int { self.publisher.packetBytes }
    var unacknowledged: Int { self.identifiers.count }
    /// Messages that are due and not sent.
    var waiting: Int { self.due.count }

    /// The number of a message that arrived; nil: there was none, so the number was damaged.
    func number(of sequence: UInt32) -> Int? {
        let number = self.sent + Int(Int32(bitPattern: sequence &- UInt32(truncatingIfNeeded: self.sent)))
        return (0..<self.sent).contains(number) ? number : nil
    }

    // MARK: Sending

    /// - Parameter receiveMaximum: QoS 1 and 2 messages that the broker takes at a time (MQTT 5.0, section 4.9).
    private func maySend(_ receiveMaximum: Int) -> Bool {
        self.client.state == .open && (self.qos == .atMostOnce || self.identifiers.count < receiveMaximum)
    }

    /// As much as the window has room for.
    ///
    /// - Returns: how many were sent.
    func fill(window size: Int, receiveMaximum: Int) -> Int {
        // What nobody gets, and nobody acknowledges, would leave the window at once.
        guard self.window.count < size, self.receivers > 0 || self.qos != .atMostOnce else { return 0 }
        let now = Clock.monotonic()
        var count = 0
        while self.window.count < size, self.maySend(receiveMaximum) {
            guard self.send(due: now, at: now) else { break }
            count += 1
        }
        return count
    }

    func queue(due moment: Instant) { self.due.append(moment) }

    /// What is due, as far as the broker takes it; the rest waits for acknowledgements.
    ///
    /// - Returns: how many were sent.
    func sendDue(receiveMaximum: Int, at now: Instant) -> Int {
        var count = 0
        while let moment = self.due.first, self.maySend(receiveMaximum), self.send(due: moment, at: now) {
            _ = self.due.popFirst()
            count += 1
        }
        return count
    }

    /// - Returns: false: the broker has not acknowledged any of as many as there are packet identifiers.
    private func send(due: Instant, at now: Instant) -> Bool {
        let number = self.publisher.sent
        if self.qos == .atMostOnce {
            self.publisher.send(due: due)
        } else {
            guard let identifier = self.identifiers.take(for: number) else { return false }
            self.publisher.send(due: due, identifier: identifier)
        }
        if self.sends == .asWindowAllows {
            self.window.add(awaiting: self.receivers + (self.qos == .atMostOnce ? 0 : 1), at: now)
        }
        return true
    }

    // MARK: What comes

    func delivered(_ number: Int) { self.window.came(number) }

    /// - Returns: false: there is no such message.
    func acknowledged(_ identifier: UInt16, isRefusal: Bool) -> Bool {
        guard let number = self.identifiers.release(identifier) else { return false }
        if isRefusal {
            self.refused += 1
            self.window.refuse(number)
        } else {
            self.window.came(number)
        }
        return true
    }

    /// - Returns: messages that lose their places.
    func giveUp(sentBefore moment: Instant) -> Int { self.window.giveUp(sentBefore: moment) }
}
