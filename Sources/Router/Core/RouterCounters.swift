/// What happened since the start. Every drop is in here.
package struct RouterCounters: Equatable, Sendable {
    /// Packets other than PUBLISH; those that the listener answers itself (PINGREQ) do not come here.
    package var otherPacketsReceived: UInt64 = 0
    package var otherBytesReceived: UInt64 = 0
    package var otherPacketsSent: UInt64 = 0
    package var otherBytesSent: UInt64 = 0
    package var publishesReceived: UInt64 = 0
    package var publishBytesReceived: UInt64 = 0
    package var publishesSent: UInt64 = 0
    package var publishBytesSent: UInt64 = 0
    package var connectsAccepted: UInt64 = 0
    package var connectsRefused: UInt64 = 0
    package var sessionsTakenOver: UInt64 = 0
    package var sessionsExpired: UInt64 = 0
    /// Connections that were there before this router was.
    package var sessionsAttached: UInt64 = 0
    /// Of those, the ones whose session is not here, or belongs to a newer connection.
    package var attachesRefused: UInt64 = 0
    package var willsPublished: UInt64 = 0
    /// Wills that waited before they were published, for the store had enough to do.
    package var willsHeld: UInt64 = 0
    /// Sessions that were closed because of what their client sent.
    package var closedForErrors: UInt64 = 0
    /// Of these, because too many bytes of incomplete packets had come through their listener.
    package var closedPartialBytes: UInt64 = 0
    /// The same, because their packet came too slowly while another needed the room.
    package var closedPartialSlow: UInt64 = 0
    package var publishesDenied: UInt64 = 0
    /// Messages, wills too, that were refused because too many filters match the beginning of their topic.
    package var publishesBeyondMatch: UInt64 = 0
    package var subscriptionsDenied: UInt64 = 0
    /// Because the rules of a session have changed.
    package var subscriptionsEndedByRules: UInt64 = 0
    /// They had waited, or were under way, for a client whose rules became others, and that may not have them any more.
    package var droppedByRules: UInt64 = 0
    /// QoS 0 messages for which a slow client's queue had no room.
    package var droppedQoS0: UInt64 = 0
    /// QoS 1 and 2 messages for which a queue had no room.
    package var droppedQueueFull: UInt64 = 0
    /// The same because of the limit over all sessions.
    package var droppedTotalFull: UInt64 = 0
    /// Larger than their receiver's maximum packet size.
    package var droppedTooLarge: UInt64 = 0
    /// Expired before they could be sent.
    package var droppedExpired: UInt64 = 0
    /// QoS 0 messages for sessions whose client is away.
    package var droppedOffline: UInt64 = 0
    /// Messages that were not retained because the store is full.
    package var retainedRefused: UInt64 = 0
    package var retainedExpired: UInt64 = 0
    /// QoS 1 and 2 messages that were not taken because the store could not keep them.
    package var publishesNotStored: UInt64 = 0
    /// Connections of MQTT 3 clients, so that they send again what could not be stored.
    package var closedUnanswered: UInt64 = 0
    /// How often a client's packets cost so much that further ones of it had to wait until others had their turn.
    package var inputsWaited: UInt64 = 0
    /// Frames for sessions that are not of this link any more.
    package var framesDiscarded: UInt64 = 0

    package init() {}

    package var packetsReceived: UInt64 { self.publishesReceived + self.otherPacketsReceived }
    package var packetBytesReceived: UInt64 { self.publishBytesReceived + self.otherBytesReceived }
    package var packetsSent: UInt64 { self.publishesSent + self.otherPacketsSent }
    package var packetBytesSent: UInt64 { self.publishBytesSent + self.otherBytesSent }

    /// Messages that did not reach a session they were for.
    package var messagesDropped: UInt64 {
        self.droppedQoS0 + self.droppedQueueFull + self.droppedTotalFull + self.droppedTooLarge + self.droppedExpired
            + self.droppedOffline
    }

    /// Names and values, as the status report shows them.
    package var lines: [(name: String, value: UInt64)] {
        [
            ("packets_received", self.packetsReceived),
            ("packet_bytes_received", self.packetBytesReceived),
            ("packets_sent", self.packetsSent),
            ("packet_bytes_sent", self.packetBytesSent),
            ("publishes_received", self.publishesReceived),
            ("publish_bytes_received", self.publishBytesReceived),
            ("publishes_sent", self.publishesSent),
            ("publish_bytes_sent", self.publishBytesSent),
            ("connects_accepted", self.connectsAccepted),
            ("connects_refused", self.connectsRefused),
            ("sessions_taken_over", self.sessionsTakenOver),
            ("sessions_expired", self.sessionsExpired),
            ("sessions_attached", self.sessionsAttached),
            ("attaches_refused", self.attachesRefused),
            ("wills_published", self.willsPublished),
            ("wills_held", self.willsHeld),
            ("closed_for_errors", self.closedForErrors),
            ("closed_partial_bytes", self.closedPartialBytes),
            ("closed_partial_slow", self.closedPartialSlow),
            ("publishes_denied", self.publishesDenied),
            ("publishes_beyond_match", self.publishesBeyondMatch),
            ("subscriptions_denied", self.subscriptionsDenied),
            ("subscriptions_ended_by_rules", self.subscriptionsEndedByRules),
            ("dropped_qos0", self.droppedQoS0),
            ("dropped_queue_full", self.droppedQueueFull),
            ("dropped_total_full", self.droppedTotalFull),
            ("dropped_too_large", self.droppedTooLarge),
            ("dropped_by_rules", self.droppedByRules),
            ("dropped_expired", self.droppedExpired),
            ("dropped_offline", self.droppedOffline),
            ("retained_refused", self.retainedRefused),
            ("retained_expired", self.retainedExpired),
            ("publishes_not_stored", self.publishesNotStored),
            ("closed_unanswered", self.closedUnanswered),
            ("inputs_waited", self.inputsWaited),
            ("frames_discarded", self.framesDiscarded),
        ]
    }
}
