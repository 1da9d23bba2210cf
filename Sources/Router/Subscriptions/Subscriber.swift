import Common

/// One session's interest in a filter, in eight bytes.
struct Subscriber: BitwiseCopyable, Equatable {
    /// What a subscription asks for beside its filter (MQTT 5.0, section 3.8.3.1), and its identifier.
    struct Options: BitwiseCopyable, Equatable {
        /// ```
        /// bits 0-1: QoS   2: No Local   3: Retain As Published   4-31: subscription identifier, 0 = none
        /// ```
        var bits: UInt32

        init(qos: QoS, noLocal: Bool = false, retainAsPublished: Bool = false, identifier: UInt32 = 0) {
            // Identifiers go up to 268,435,455: 28 bits [MQTT 5.0, section 3.8.2.1.2].
            self.bits =
                UInt32(qos.rawValue) | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (identifier & 0xFFF_FFFF) << 4
        }

        init(bits: UInt32) {
            self.bits = bits
        }

        @inline(__always) var qos: QoS { QoS(level: UInt8(truncatingIfNeeded: self.bits & 3)) }
        @inline(__always) var noLocal: Bool { self.bits & 4 != 0 }
        @inline(__always) var retainAsPublished: Bool { self.bits & 8 != 0 }
        @inline(__always) var identifier: UInt32 { self.bits >> 4 }

        /// Overlapping subscriptions of one session: highest QoS, retain flag kept if one asks for it, the first identifier.
        mutating func merge(_ other: Options) {
            let qos = max(self.bits & 3, other.bits & 3)
            self.bits = (self.bits & ~3) | qos | (other.bits & 8)
        }
    }

    /// Index of the session; in the list of a shared group's node, see `SubscriptionTrie`.
    var session: UInt32
    var options: Options
}
