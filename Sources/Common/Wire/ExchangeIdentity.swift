/// What a QoS 2 message is called between routers and listeners: from it the next router knows whether a subscriber has the message
/// already that its publisher's listener sends again.
///
/// Both ends of a link count the QoS 2 PUBLISH packets of a connection, and work it out from that. Two of them are alike by chance
/// only, once in 2^64.
public struct ExchangeIdentity: Equatable, Sendable {
    private let connection: UInt64
    /// QoS 2 PUBLISH packets that came on the connection, repetitions among them.
    public private(set) var publishCount: UInt64

    /// - Parameters:
    ///   - sessionNumber: from `SessionAccepted`.
    ///   - connectStamp: from `SessionOpen`.
    public init(
        clientIdentifier: [UInt8],
        sessionNumber: UInt64,
        connectStamp: UInt64,
        publishCount: UInt64 = 0
    ) {
        // With the finalizer of SplitMix64.
        let hash = FNV1a(clientIdentifier).value
        self.connection = Self.mix(hash ^ Self.mix(sessionNumber ^ Self.mix(connectStamp)))
        self.publishCount = publishCount
    }

    /// Of the next QoS 2 PUBLISH; never 0.
    @inlinable public mutating func next() -> UInt64 {
        self.countOne()
        return self.current
    }

    @usableFromInline mutating func countOne() { self.publishCount &+= 1 }

    @usableFromInline var current: UInt64 { max(1, Self.mix(self.connection &+ self.publishCount)) }

    @usableFromInline static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
