import Common

/// What the next router has to be told of a session whose connection has ended, until the one that was told has stored it.
struct Farewell {
    struct Content {
        /// `sessionAttach`, the packets without answer, `sessionClosed`.
        var frames: [UInt8]
        /// Of the packets in there that use the link's credit.
        var creditBytes: Int
    }

    /// For the first router that is told.
    private let first: Content
    /// For those after it: without what came at QoS 0 while there was no router, which is sent once [MQTT-4.3.1-1].
    private let further: Content
    private var isTold = false

    init(first: Content, further: Content) {
        self.first = first
        self.further = further
    }

    /// Of either content.
    var byteCount: Int { self.first.frames.count + self.further.frames.count }

    /// What a router is told.
    mutating func tell() -> Content {
        defer { self.isTold = true }
        return self.isTold ? self.further : self.first
    }
}
