/// How far a QoS 1 or 2 message has come on its way to a client, as its listener saw it pass.
public enum OutboundStage: UInt8, Sendable {
    /// No message has the packet identifier.
    case free = 0
    /// PUBLISH was passed to the client, at QoS 1.
    case atLeastOnce = 1
    /// The same at QoS 2.
    case exactlyOnce = 2
    /// The client's PUBREC was passed on.
    case received = 3
    /// PUBREL was passed to the client.
    case released = 4
}
