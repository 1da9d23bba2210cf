import Common

/// The topic that a session last published to, and what was found out about it: that it is well-formed, which publications the access
/// rules allow, and who gets a message if that is one session at most.
struct RecentTopic: ~Copyable {
    private var bytes: [UInt8] = []
    /// A bit for each QoS with and without RETAIN.
    private var allowed: UInt8 = 0
    /// `SubscriptionTrie.revision` for which `subscriber` holds; 0: none.
    private var revision: UInt64 = 0
    /// Nil: nobody.
    private(set) var subscriber: Subscriber?

    func matches(_ topic: UnsafeRawBufferPointer) -> Bool {
        guard topic.count == self.bytes.count, topic.count > 0 else { return false }
        return self.bytes.withUnsafeBytes { equalBytes($0, topic) }
    }

    private static func bit(_ qos: QoS, _ retain: Bool) -> UInt8 { 1 << (qos.level | (retain ? 4 : 0)) }

    /// - Returns: false: it is not known.
    func isAllowed(_ qos: QoS, retain: Bool) -> Bool { self.allowed & Self.bit(qos, retain) != 0 }

    func isMatched(at revision: UInt64) -> Bool { self.revision == revision }

    /// A valid topic to which that may be published.
    mutating func allow(_ topic: UnsafeRawBufferPointer, _ qos: QoS, retain: Bool) {
        if !self.matches(topic) {
            self.bytes.removeAll(keepingCapacity: true)
            self.bytes.append(contentsOf: topic)
            self.allowed = 0
            self.revision = 0
        }
        self.allowed |= Self.bit(qos, retain)
    }

    mutating func match(_ subscriber: Subscriber?, at revision: UInt64) {
        self.subscriber = subscriber
        self.revision = revision
    }

    /// The access rules are others.
    mutating func forget() {
        self = RecentTopic()
    }
}
