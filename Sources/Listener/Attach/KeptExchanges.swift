import Common

/// What a listener remembers of a session's QoS 2 messages that routers have in memory only: see docs/adr/0014.
final class KeptExchanges {
    /// Of the QoS 2 PUBLISH packets of the client.
    var identity: ExchangeIdentity
    /// Those of them of which the client has the PUBREC and no PUBCOMP. The router that gave the PUBREC is another one for those that
    /// are marked.
    var completing = UnansweredPackets()
    /// What the client got.
    var delivered = DeliveredExchanges()

    init(identity: ExchangeIdentity) {
        self.identity = identity
    }
}
