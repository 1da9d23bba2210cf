/// Something for a client that must not leave before what it promises is safe.
struct HeldAnswer {
    enum Content {
        /// Acknowledgements, as they go out.
        case packets([UInt8])
        /// The first sending of a QoS 2 message: were its packet identifier forgotten, the client would get it twice.
        case publish(UInt16)
        /// A QoS 0 copy of a QoS 2 message: were it forgotten that the message went on, this one would come a second time.
        case message(QueuedMessage)
        /// Sending goes on.
        case pump
        /// CONNACK, as a frame. Nothing else is sent to the session before.
        case accepted([UInt8])
        /// A frame about a connection that is no more.
        case frame([UInt8])
        /// It has left.
        case nothing
    }

    /// In the place of one that has left, until the others move up.
    static var left: HeldAnswer {
        HeldAnswer(group: 0, created: .max, handle: RouterLink.noHandle, content: .nothing)
    }

    /// This group of changes must be committed.
    var group: UInt64
    /// What was written up to the end of `turn` must be with these listeners (`RouterLink.bit`): a router that is killed loses
    /// what it has not handed over.
    var links: UInt64 = 0
    var turn: UInt64 = 0
    /// It is about a session that ends with its connection: when nothing can be stored it leaves all the same, and its listener is told.
    var leavesUnstored = false
    /// These messages must have left the queues they wait in without being stored, or be acknowledged.
    var awaited: [AwaitedMessage] = []
    /// A message is refused in it, for nothing could be stored.
    var refuses = false
    /// PUBCOMPs in it of messages that are marked as completed in the store.
    var completed = 0
    /// What the link's and the session's credit were debited with for a message that is written when this leaves.
    var debited = 0
    /// The turn in which it came to be.
    var created: UInt64 = 0
    var handle: UInt64
    var content: Content

    var waitsForLinks: Bool { self.links != 0 || self.awaited.contains { !$0.isUnderWay } }
}
