extension Configuration {
    @dynamicMemberLookup
    public struct MQTT: Equatable, Sendable {
        /// How messages to a shared subscription are spread over its members; always over those that are connected first.
        public enum SharedSpread: String, CaseIterable, Sendable {
            case roundRobin = "round_robin"
            /// The member with the fewest messages unacknowledged or waiting; members in turn among equals.
            case leastInflight = "least_inflight"
        }

        /// What listeners offer that say nothing of their own. Its members are this section's, too: `mqtt.maxQoS`.
        public var offer = Offer()
        /// The whole packet with its fixed header; at most 268,435,460 (MQTT 5.0, section 2.1.4).
        public var maxPacketSizeBytes = 4 * 1024 * 1024
        public var maxTopicLevels = 256
        public var maxClientIDLengthBytes = 1024
        /// Topic, properties and payload.
        public var maxWillSizeBytes = 64 * 1024
        public var sharedSpread = SharedSpread.roundRobin
        /// Topic aliases used towards a client that allows some; 0: none. Memory: as many topics per session.
        public var topicAliasesToClients: UInt16 = 16
        /// How often `$SYS` topics are published; 0: never.
        public var sysIntervalNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        public var session = Session()
        public var maxSessions = 1_000_000
        /// Of all sessions together.
        public var maxQueuedBytesTotal = 4 * 1024 * 1024 * 1024
        public var retained = Retained()

        public init() {}

        public subscript<Value>(dynamicMember path: WritableKeyPath<Offer, Value>) -> Value {
            get { self.offer[keyPath: path] }
            set { self.offer[keyPath: path] = newValue }
        }
    }
}

extension Configuration.MQTT {
    public struct Session: Equatable, Sendable {
        public enum QueueFull: String, CaseIterable, Sendable {
            case dropOldest = "drop_oldest"
            case dropNewest = "drop_newest"
        }

        /// Longest session expiry interval granted.
        public var maxExpirySeconds: UInt32 = 7 * 86_400
        /// For 3.1 and 3.1.1 clients with clean session 0, which cannot say.
        public var version3ExpirySeconds: UInt32 = 7 * 86_400
        public var maxSubscriptions = 1000
        /// Their filters: each counts with its length and 32 bytes for each of its levels.
        public var maxSubscriptionBytes = 1024 * 1024
        /// QoS 1 and 2 messages in flight towards a client, whose receive maximum counts where it is lower; 1…65535.
        public var maxInflight: UInt16 = 1000
        /// Bytes of these; a single larger message goes alone.
        public var maxInflightBytes = 16 * 1024 * 1024
        /// Waiting for a client that is away or slow.
        public var maxQueuedMessages = 10_000
        public var maxQueuedBytes = 16 * 1024 * 1024
        public var queueFull = QueueFull.dropOldest

        public init() {}
    }

    public struct Retained: Equatable, Sendable {
        public var maxMessages = 1_000_000
        public var maxBytes = 1024 * 1024 * 1024

        public init() {}
    }
}
