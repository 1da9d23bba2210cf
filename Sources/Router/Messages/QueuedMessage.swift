import Common

/// A message on its way to one session.
struct QueuedMessage {
    static var noGroup: UInt32 { UInt32.max }

    let message: Message
    /// Of overlapping subscriptions; nil nearly always.
    var furtherIdentifiers: [UInt32]?
    /// Subscription identifier, 0: none.
    var identifier: UInt32
    /// The shared group it came through: another member gets it if this one goes away.
    var group: UInt32 = QueuedMessage.noGroup
    var groupStamp: UInt32 = 0
    var qos: QoS
    var retain: Bool
    /// Of its entry in the store; 0: it has none.
    var number: UInt64 = 0

    /// It is of QoS 2, and its publisher's listener keeps it until PUBCOMP.
    @inline(__always) var isKept: Bool { self.qos == .exactlyOnce && self.message.header.exchange != 0 }

    func shape(hasProperties: Bool, dup: Bool = false) -> PublishShape {
        PublishShape(
            hasProperties: hasProperties,
            qos: self.qos,
            retain: self.retain,
            dup: dup,
            identifier: hasProperties ? self.identifier : 0
        )
    }
}
