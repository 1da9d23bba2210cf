/// Something for a client that must not leave before a group of changes is committed.
struct HeldAnswer {
    enum Content {
        /// Acknowledgements, as they go out.
        case packets([UInt8])
        /// The first sending of a QoS 2 message: were its packet identifier forgotten, the client would get it twice.
        case publish(UInt16)
        /// Sending goes on.
        case pump
    }

    var group: UInt64
    var handle: UInt64
    var content: Content
}
