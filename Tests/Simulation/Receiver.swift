import Common

/// What one client got.
struct Receiver {
    let name: String
    /// First arrivals of messages that were sent when it was subscribed. Of another one the publisher may send again what was for
    /// others before, and it comes late.
    private(set) var order: [String] = []
    private(set) var came: [String: Int] = [:]
    /// When the broker had confirmed them, by the topics' beginning; only of sessions that last.
    var subscribedAt: [String: Int] = [:]
    /// The same of the session that it has, whether or not that lasts.
    var orderedSince: [String: Int] = [:]

    /// The highest QoS at which it gets anything, by the topics' beginning.
    private let maximum: [String: QoS]

    init(_ plan: ClientPlan) {
        self.name = plan.name
        self.maximum = Dictionary(plan.subscriptions.map { (String($0.filter.dropLast()), $0.qos) }) { first, _ in first
        }
    }

    /// Whether MQTT lets it come several times.
    func mayComeAgain(_ message: Ledger.Message) -> Bool {
        let maximum = self.maximum.first { message.topic.hasPrefix($0.key) }?.value ?? .exactlyOnce
        return min(maximum, message.qos) == .atLeastOnce
    }

    mutating func got(_ payload: String, _ message: Ledger.Message?) {
        let since = message.flatMap { message in self.orderedSince.first { message.topic.hasPrefix($0.key) }?.value }
        if self.came[payload] == nil, let since, let message, message.sentAt > since { self.order.append(payload) }
        self.came[payload, default: 0] += 1
    }
}
