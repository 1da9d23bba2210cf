extension Configuration {
    @dynamicMemberLookup
    package struct MQTT: Equatable, Sendable {
        /// How messages to a shared subscription are spread over its members; always over those that are connected first.
        package enum SharedSpread: String, CaseIterable, Sendable {
            case roundRobin = "round_robin"
            /// The member with the fewest messages unacknowledged or waiting; members in turn among equals.
            case leastInflight = "least_inflight"
        }

        /// What listeners offer that say nothing of their own. Its members are this section's, too: `mqtt.maxQoS`.
        package var offer = Offer()
        /// The whole packet with its fixed header; at most 268,435,460 (MQTT 5.0, section 2.1.4).
        package var maxPacketSizeBytes = 4 * 1024 * 1024
        package var maxTopicLevels = 256
        package var maxClientIDLengthBytes = 1024
        package var sharedSpread = SharedSpread.roundRobin
        /// Topic aliases used towards a client that allows some; 0: none. Memory: as many topics per session.
        package var topicAliasesToClients: UInt16 = 16
        /// How often `$SYS` topics are published; 0: never.
        package var sysIntervalNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        package var session = Session()
        package var maxSessions = 1_000_000
        /// Of all sessions together.
        package var maxQueuedBytesTotal = 4 * 1024 * 1024 * 1024
        package var retained = Retained()

        package init() {}

        package subscript<Value>(dynamicMember path: WritableKeyPath<Offer, Value>) -> Value {
            get { self.offer[keyPath: path] }
            set { self.offer[keyPath: path] = newValue }
        }
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
        /// QoS 1 and 2 messages in flight towards a client, whose receive maximum counts where it is lower; 1…65535.
        package var maxInflight: UInt16 = 1000
        /// Bytes of these; a single larger message goes alone.
        package var maxInflightBytes = 16 * 1024 * 1024
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
