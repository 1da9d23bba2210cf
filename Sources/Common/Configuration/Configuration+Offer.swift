extension Configuration {
    /// What a listener offers its clients, and asks of them: CONNACK of MQTT 5 announces just this (section 3.2.2.3). The `mqtt`
    /// section says it for all listeners, and each listener may say otherwise.
    package struct Offer: Equatable, Sendable {
        package enum EmptyClientID: String, CaseIterable, Sendable {
            case allow
            case refuse
        }

        package var protocolVersions = ProtocolVersions.all
        package var maxQoS = QoS.exactlyOnce
        package var retainAvailable = true
        package var wildcardSubscriptions = true
        package var sharedSubscriptions = true
        package var subscriptionIdentifiers = true
        /// QoS 1 and 2 messages a client may have in flight towards the broker; 1…65535.
        package var receiveMaximum: UInt16 = 1000
        package var topicAliasMaximum: UInt16 = 10
        /// A longer keep alive, or none, is replaced by this for MQTT 5; 65535: clients choose.
        package var maxKeepAliveSeconds: UInt16 = 65_535
        package var emptyClientID = EmptyClientID.allow
        package var publishRate = PublishRate()

        package init() {}
    }

    /// A set of protocol versions.
    package struct ProtocolVersions: OptionSet, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        package init(_ version: ProtocolVersion) {
            self.init(rawValue: 1 << version.rawValue)
        }

        package static let all = ProtocolVersion.allCases.reduce(into: ProtocolVersions()) { $0.insert(Self($1)) }

        package func contains(_ version: ProtocolVersion) -> Bool { self.contains(Self(version)) }
    }
}

extension Configuration.Offer {
    /// How much one client may publish: token buckets that hold `burst` of it.
    package struct PublishRate: Equatable, Sendable {
        package enum Exceeded: String, CaseIterable, Sendable {
            /// The client is not read until its bucket fills again: TCP slows it down.
            case slow
            /// DISCONNECT with 0x96, message rate too high.
            case disconnect
        }

        /// 0: no limit.
        package var messagesPerSecond = 0
        /// Of whole PUBLISH packets; 0: no limit.
        package var bytesPerSecond = 0
        /// What a full bucket holds: so long's worth of the rate may come at once.
        package var burstNanoseconds: UInt64 = 2 * Configuration.nanosecondsPerSecond
        package var exceeded = Exceeded.slow

        package init() {}
    }
}
