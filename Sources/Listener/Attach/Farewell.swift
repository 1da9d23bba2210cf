/// What the next router has to be told of a session whose connection has ended, until the one that was told has stored it.
struct Farewell {
    /// `sessionAttach`, the packets without answer, `sessionClosed`.
    var frames: [UInt8]
    /// Of the packets in there that use the link's credit.
    var creditBytes: Int
}
