/// A metric of the status: its type, and what it counts, in a sentence.
struct StatusMetric {
    /// Prometheus' types.
    enum Kind: String {
        case counter
        case gauge
        case untyped
    }

    var kind: Kind
    var help: String

    init(_ kind: Kind, _ help: String) {
        self.kind = kind
        self.help = help
    }

    /// Values that are words, by their names, and the one that means that all is well.
    static let words = ["router": "up", "redis": "in use", "devices": "in use"]

    /// By role, and by the names that the status has.
    static let all: [String: [String: StatusMetric]] = [
        "router": router, "listener": listener, "authworker": authWorker,
    ]

    private static let router: [String: StatusMetric] = [
        "links": .init(.gauge, "Listeners connected."),
        "sessions": .init(.gauge, "Sessions, with those whose client is away."),
        "sessions_connected": .init(.gauge, "Sessions whose client is connected."),
        "subscriptions": .init(.gauge, "Subscriptions of all sessions."),
        "retained_messages": .init(.gauge, "Retained messages."),
        "retained_bytes": .init(.gauge, "Bytes of retained messages."),
        "queued_messages": .init(.gauge, "Messages that wait in sessions' queues."),
        "queued_bytes": .init(.gauge, "Bytes of messages that wait in sessions' queues."),
        "heap_bytes": .init(.gauge, "Heap in use."),
        "heap_trims": .init(.counter, "Times that freed memory was given back to the system."),
        "packets_received": .init(.counter, "MQTT packets from clients."),
        "packet_bytes_received": .init(.counter, "Bytes of MQTT packets from clients."),
        "packets_sent": .init(.counter, "MQTT packets to clients."),
        "packet_bytes_sent": .init(.counter, "Bytes of MQTT packets to clients."),
        "publishes_received": .init(.counter, "PUBLISH packets from clients."),
        "publish_bytes_received": .init(.counter, "Bytes of PUBLISH packets from clients."),
        "publishes_sent": .init(.counter, "PUBLISH packets to clients."),
        "publish_bytes_sent": .init(.counter, "Bytes of PUBLISH packets to clients."),
        "connects_accepted": .init(.counter, "CONNECT packets that were accepted."),
        "connects_refused": .init(.counter, "CONNECT packets that the router refused."),
        "sessions_taken_over": .init(.counter, "Sessions that another connection took over."),
        "sessions_expired": .init(.counter, "Sessions that expired."),
        "sessions_attached": .init(.counter, "Connections older than the router whose session went on."),
        "attaches_refused": .init(.counter, "Connections older than the router whose session could not go on."),
        "wills_published": .init(.counter, "Will messages that were published."),
        "wills_held": .init(.counter, "Will messages that waited because the store was behind."),
        "closed_for_errors": .init(.counter, "Sessions closed for what their client sent."),
        "closed_partial_bytes": .init(
            .counter,
            "Sessions closed because the incomplete packets of their address took most of the room for such."
        ),
        "closed_partial_slow": .init(
            .counter,
            "The same of sessions whose incomplete packet came slowly."
        ),
        "publishes_denied": .init(.counter, "PUBLISH packets that the rules do not allow."),
        "publishes_beyond_match": .init(
            .counter,
            "Messages refused because too many filters match the beginning of their topic."
        ),
        "subscriptions_denied": .init(.counter, "Subscriptions that the rules do not allow."),
        "subscriptions_ended_by_rules": .init(.counter, "Subscriptions that other rules have ended."),
        "dropped_qos0": .init(.counter, "QoS 0 messages dropped for want of room in a queue."),
        "dropped_queue_full": .init(.counter, "QoS 1 and 2 messages dropped for want of room in a queue."),
        "dropped_total_full": .init(.counter, "Messages dropped by the limit over all sessions."),
        "dropped_too_large": .init(.counter, "Messages larger than their receiver's maximum packet size."),
        "dropped_by_rules": .init(.counter, "Messages dropped because their client's rules are others now."),
        "dropped_expired": .init(.counter, "Messages that expired before they could be sent."),
        "dropped_offline": .init(.counter, "QoS 0 messages for clients that were away."),
        "retained_refused": .init(.counter, "Messages not retained because there was no room."),
        "retained_expired": .init(.counter, "Retained messages that expired."),
        "publishes_not_stored": .init(.counter, "QoS 1 and 2 messages not taken because they could not be stored."),
        "closed_unanswered": .init(.counter, "MQTT 3 clients closed because a message could not be stored."),
        "inputs_waited": .init(.counter, "Times that a client's packets waited for others' turn."),
        "frames_discarded": .init(.counter, "Frames for sessions that are not of their link any more."),
        "store_transactions": .init(.counter, "Transactions of the store."),
        "store_folds": .init(.counter, "Times that the store's log was folded into rows."),
        "store_failures": .init(.counter, "Transactions of the store that failed."),
        "store_rewrites": .init(.counter, "Times that the store was written anew because its files had been removed."),
        "store_waiting_bytes": .init(.gauge, "Bytes of changes that are not committed."),
        "alarm_store": .init(.gauge, "1: the store cannot be written."),
        "packets_not_kept": .init(.counter, "Large packets that would not have survived the router."),
    ]

    private static let listener: [String: StatusMetric] = [
        "connections": .init(.gauge, "Connections."),
        "handshakes_under_way": .init(.gauge, "TLS handshakes under way."),
        "handshakes_waiting": .init(.gauge, "Connections that wait for their handshake."),
        "connections_silent": .init(.gauge, "TLS connections that have said nothing yet."),
        "sessions": .init(.gauge, "Connections with an open session."),
        "router_up": .init(.gauge, "1: connected to the router."),
        "auth_workers_up": .init(.gauge, "Auth workers connected."),
        "heap_bytes": .init(.gauge, "Heap in use."),
        "heap_trims": .init(.counter, "Times that freed memory was given back to the system."),
        "accepted_total": .init(.counter, "Connections accepted."),
        "handshakes_total": .init(.counter, "TLS handshakes done."),
        "handshakes_resumed_total": .init(.counter, "TLS handshakes that resumed a session."),
        "handshakes_with_known_certificate_total": .init(.counter, "TLS handshakes whose chain was verified before."),
        "handshakes_waited_total": .init(.counter, "Connections that had to wait for their handshake."),
        "handshakes_waited_with_ticket_total": .init(.counter, "Of those that waited: with a session ticket."),
        "handshakes_waited_from_known_addresses_total": .init(
            .counter,
            "Of those that waited: from addresses from which devices were let in."
        ),
        "handshakes_waited_from_refused_addresses_total": .init(
            .counter,
            "Of those that waited: from addresses from which only refused ones came."
        ),
        "sessions_opened_total": .init(.counter, "Sessions opened."),
        "sessions_attached_total": .init(.counter, "Open sessions told to a router that was started after them."),
        "farewells_dropped_total": .init(.counter, "Ends of sessions of which the next router will not be told."),
        "bytes_received_total": .init(.counter, "Bytes from clients."),
        "bytes_sent_total": .init(.counter, "Bytes to clients."),
        "undelivered_bytes": .init(.gauge, "PUBLISH bytes that wait for clients to read them."),
        "credit_stops_total": .init(.counter, "Times that a client was not read for want of credit."),
        "publish_rate_stops_total": .init(.counter, "Times that a client was not read because it published too fast."),
        "publish_rate_disconnects_total": .init(.counter, "Clients disconnected because they published too fast."),
        "accept_pauses_total": .init(.counter, "Times that accepting rested."),
        "slow_clients_closed_total": .init(.counter, "Clients closed because they did not read."),
        "keep_alive_timeouts_total": .init(.counter, "Clients closed because they were silent."),
        "protocol_errors_total": .init(.counter, "Clients closed because they broke the protocol."),
        "sessions_revoked_total": .init(.counter, "Sessions ended because they are not allowed any more."),
        "sessions_banned_total": .init(.counter, "Sessions ended by a ban."),
        "rules_changed_total": .init(.counter, "Sessions that got other rules."),
        "frames_without_connection_total": .init(.counter, "Frames for connections that were gone."),
        "invalid_frames_total": .init(.counter, "Frames that were not valid."),
        "refused_total": .init(.counter, "Connections refused, by reason."),
        "revocation_lists": .init(.gauge, "Revocation lists in force."),
        "revoked_certificates": .init(.gauge, "Certificates in revocation lists."),
        "bans": .init(.gauge, "Bans in force."),
    ]

    private static let authWorker: [String: StatusMetric] = [
        "links": .init(.gauge, "Listeners connected."),
        "heap_bytes": .init(.gauge, "Heap in use."),
        "heap_trims": .init(.counter, "Times that freed memory was given back to the system."),
        "redis_up": .init(.gauge, "1: all of Redis can be asked."),
        "devices_up": .init(.gauge, "1: the file of devices is in use."),
        "wall_clock_ahead_seconds": .init(.gauge, "How far the wall clock is ahead of the cache's."),
        "rows_held": .init(.counter, "Lost rows whose devices were let in all the same."),
        "queries": .init(.counter, "Questions of listeners."),
        "allowed": .init(.counter, "Clients let in by the file of devices."),
        "allowed_by_redis": .init(.counter, "Clients let in by a row just fetched."),
        "allowed_by_certificate": .init(.counter, "Clients let in by their certificate."),
        "allowed_by_memory": .init(.counter, "Clients let in by a row in memory."),
        "allowed_by_disk": .init(.counter, "Clients let in by a row of the cache file."),
        "allowed_stale": .init(.counter, "Clients let in by an old row because Redis did not answer."),
        "allowed_before_late_answer": .init(.counter, "Of those: because Redis took longer than stale_after."),
        "denied": .init(.counter, "Clients denied, by reason."),
        "unknown": .init(.counter, "Clients of which nobody could say, by reason."),
        "queries_waiting": .init(.gauge, "Questions without an answer."),
        "lookups": .init(.counter, "Look-ups in Redis."),
        "lookups_shared": .init(.counter, "Questions that shared a look-up under way."),
        "slow_password_checks": .init(.counter, "Passwords handed to the threads for slow hashes."),
        "slow_password_checks_dropped": .init(
            .counter,
            "Of those: not compared, as they had waited until their clients were refused."
        ),
        "slow_password_checks_waiting": .init(.gauge, "Passwords that wait for the threads."),
        "revalidations": .init(.counter, "Look-ups made before a row in use expired."),
        "refetches": .init(.counter, "Look-ups made once more because of a change at the same time."),
        "rules_dropped": .init(.counter, "Rules left out of verdicts."),
        "rows_in_memory": .init(.gauge, "Rows in memory."),
        "absent_keys_in_memory": .init(.gauge, "Unknown devices in memory."),
        "absent_keys_pushed_out": .init(.counter, "Unknown devices pushed out of memory."),
        "redis_commands": .init(.counter, "Commands sent to Redis."),
        "redis_pipelines": .init(.counter, "Pipelines sent to Redis."),
        "redis_answers": .init(.counter, "Answers of Redis."),
        "redis_errors": .init(.counter, "Errors that Redis answered."),
        "redis_replies_too_long": .init(.counter, "Answers of Redis that were too long."),
        "redis_timeouts": .init(.counter, "Commands that Redis did not answer in time."),
        "redis_asked_again": .init(.counter, "Commands sent again after a connection broke."),
        "redis_connections": .init(.counter, "Connections made to Redis."),
        "redis_failures": .init(.counter, "Connections to Redis that failed."),
        "redis_pipeline_largest": .init(.gauge, "Commands in the largest pipeline."),
        "redis_pipeline_average": .init(.gauge, "Commands in a pipeline, on average."),
        "redis_latency_p50_us": .init(.gauge, "Latency of Redis in microseconds: median."),
        "redis_latency_p90_us": .init(.gauge, "Latency of Redis in microseconds: 90th percentile."),
        "redis_latency_p99_us": .init(.gauge, "Latency of Redis in microseconds: 99th percentile."),
        "redis_latency_max_us": .init(.gauge, "Latency of Redis in microseconds: largest."),
        "redis_redirections": .init(.counter, "Redirections by a Redis Cluster."),
        "redis_in_flight": .init(.gauge, "Commands without an answer."),
        "redis_queued": .init(.gauge, "Commands that wait to be sent."),
        "cache_hits": .init(.counter, "Rows found in the cache file."),
        "cache_misses": .init(.counter, "Rows not found in the cache file."),
        "cache_not_readable": .init(.counter, "Look-ups for which the cache file could not be read."),
        "cache_rows_written": .init(.counter, "Rows written to the cache file."),
        "cache_transactions": .init(.counter, "Transactions of the cache file."),
        "cache_writes_waiting": .init(.gauge, "Writes that wait for the cache file."),
        "cache_writes_dropped": .init(.counter, "Writes dropped because too many waited."),
        "cache_write_failures": .init(.counter, "Writes to the cache file that failed."),
        "cache_rows_evicted": .init(.counter, "Rows that had to leave the cache file."),
        "cache_replacements": .init(.counter, "Cache files replaced because they were broken."),
    ]
}
