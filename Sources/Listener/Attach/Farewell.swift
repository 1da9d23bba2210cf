import Common

/// What the next router has to be told of a session whose connection has ended, until the one that was told has stored it.
struct Farewell {
    struct Content {
        var frames: [UInt8]
        /// Of the packets in there that use the link's credit.
        var creditBytes: Int
    }

    /// `sessionAttach`.
    private let attach: [UInt8]
    /// It tells of exchanges, which not each router knows.
    private let takesExchanges: Bool
    /// The router that the session was with, by its boot id.
    private let router: [UInt8]
    /// QoS 2 messages that routers have in memory only.
    private let completingForSame: Content
    private let completingForOthers: Content
    /// The packets without answer: for the first router that is told.
    private let first: Content
    /// For those after it: without what came at QoS 0 while there was no router, which is sent once [MQTT-4.3.1-1].
    private let further: Content
    /// `sessionClosed` comes last, and says since when: nanoseconds of CLOCK_BOOTTIME.
    private let cause: SessionCloseCause
    private let endsSession: Bool
    private let handle: UInt64
    private let endedAt: UInt64
    private var isTold = false

    init(
        attach: [UInt8],
        takesExchanges: Bool,
        router: [UInt8],
        completingForSame: Content,
        completingForOthers: Content,
        first: Content,
        further: Content,
        cause: SessionCloseCause,
        endsSession: Bool,
        handle: UInt64,
        endedAt: UInt64
    ) {
        self.attach = attach
        self.takesExchanges = takesExchanges
        self.router = router
        self.completingForSame = completingForSame
        self.completingForOthers = completingForOthers
        self.first = first
        self.further = further
        self.cause = cause
        self.endsSession = endsSession
        self.handle = handle
        self.endedAt = endedAt
    }

    /// Of all contents.
    var byteCount: Int {
        self.attach.count + self.completingForSame.frames.count + self.completingForOthers.frames.count
            + self.first.frames.count + self.further.frames.count
    }

    /// What a router is told; nil: it is one of an earlier release, which could not make sense of it.
    /// - Parameter bootTime: as `endedAt`, and now.
    mutating func tell(_ router: LinkHello, bootTime: UInt64) -> Content? {
        guard router.takesExchanges || !self.takesExchanges else { return nil }
        let completing = router.bootID == self.router ? self.completingForSame : self.completingForOthers
        let rest = self.isTold ? self.further : self.first
        self.isTold = true
        var end = ByteBuffer()
        let age = bootTime - min(bootTime, self.endedAt)
        self.cause.encode(into: &end, handle: self.handle, endsSession: self.endsSession, age: age)
        return Content(
            frames: self.attach + completing.frames + rest.frames + end.array,
            creditBytes: completing.creditBytes + rest.creditBytes
        )
    }
}
