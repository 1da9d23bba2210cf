extension Configuration {
    /// What a listener offers its clients, and asks of them: CONNACK of MQTT 5 announces just this (section 3.2.2.3). The `mqtt`
    /// section says it for all listeners, and each listener may say otherwise.
    public struct Offer: Equatable, Sendable {
        public enum EmptyClientID: String, CaseIterable, Sendable {
            case allow
            case refuse
        }

        public var protocolVersions = ProtocolVersions.all
        public var maxQoS = QoS.exactlyOnce
        public var retainAvailable = true
        public var wildcardSubscriptions = true
        public var sharedSubscriptions = true
        public var subscriptionIdentifiers = true
        /// QoS 1 and 2 messages a client may have in flight towards the broker; 1…65535.
        public var receiveMaximum: UInt16 = 1000
        public var topicAliasMaximum: UInt16 = 10
        /// A longer keep alive, or none, is replaced by this for MQTT 5; 65535: clients choose.
        public var maxKeepAliveSeconds: UInt16 = 65_535
        public var emptyClientID = EmptyClientID.allow
        public var publishRate = PublishRate()

        public init() {}
    }

    /// A set of protocol versions.
    public struct ProtocolVersions: OptionSet, Sendable {
        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        public init(_ version: ProtocolVersion) {
            self.init(rawValue: 1 << version.rawValue)
        }

        public static let all = ProtocolVersion.allCases.reduce(into: ProtocolVersions()) { $0.insert(Self($1)) }

        public func contains(_ version: ProtocolVersion) -> Bool { self.contains(Self(version)) }
    }
}

extension Configuration.Offer {
    /// How much one client may publish: token buckets that hold `burst` of it.
    public struct PublishRate: Equatable, Sendable {
        public enum Exceeded: String, CaseIterable, Sendable {
            /// The client is not read until its bucket fills again: TCP slows it down.
            case slow
            /// DISCONNECT with 0x96, message rate too high.
            case disconnect
        }

        /// 0: no limit.
        public var messagesPerSecond = 0
        /// Of whole PUBLISH packets; 0: no limit.
        public var bytesPerSecond = 0
        /// What a full bucket holds: so long's worth of the rate may come at once.
        public var burstNanoseconds: UInt64 = 2 * Configuration.nanosecondsPerSecond
        public var exceeded = Exceeded.slow

        public init() {}
    }
}
