extension Configuration {
    package struct MQTT: Equatable, Sendable {
        package enum EmptyClientID: String, CaseIterable, Sendable {
            case allow
            case refuse
        }

        /// The whole packet with its fixed header; at most 268,435,460 (MQTT 5.0, section 2.1.4).
        package var maxPacketSizeBytes = 4 * 1024 * 1024
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
        package var maxTopicLevels = 256
        package var maxClientIDLengthBytes = 1024
        package var emptyClientID = EmptyClientID.allow
        package var session = Session()
        package var maxSessions = 1_000_000
        /// Of all sessions together.
        package var maxQueuedBytesTotal = 4 * 1024 * 1024 * 1024
        package var retained = Retained()

        package init() {}
    }
}

extension Configuration.MQTT {
    package struct Session: Equatable, Sendable {
        package enum QueueFull: String, CaseIterable, Sendable {
            case dropOldest = "drop_oldest"
            case dropNewest = "drop_newest"
        }

        /// Longest session expiry interval granted.
        package var maxExpirySeconds: UInt32 = 7 * 86_400
        /// For 3.1 and 3.1.1 clients with clean session 0, which cannot say.
        package var version3ExpirySeconds: UInt32 = 7 * 86_400
        package var maxSubscriptions = 1000
        /// QoS 1 and 2 messages in flight towards a client that names no receive maximum; 1…65535.
        package var maxInflight: UInt16 = 100
        /// Waiting for a client that is away or slow.
        package var maxQueuedMessages = 10_000
        package var maxQueuedBytes = 16 * 1024 * 1024
        package var queueFull = QueueFull.dropOldest

        package init() {}
    }

    package struct Retained: Equatable, Sendable {
        package var maxMessages = 1_000_000
        package var maxBytes = 1024 * 1024 * 1024

        package init() {}
    }
}
