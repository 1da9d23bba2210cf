/// Which roles use a key of the configuration: what a process says of changes that wait for its restart is about its own keys.
enum ConfigurationUse {
    typealias Role = LinkHello.Role

    private static let everybody: [Role] = [.router, .listener, .authWorker]

    /// Keys, or sections for all that is in them, without the numbers of list elements. How many processes there are of a role is a
    /// key of the listeners, who tell the auth workers from each other by it.
    private static let roles: [String: [Role]] = [
        "runtime_directory": Self.everybody,
        "state_directory": [.router, .authWorker],
        "durability": [.router],
        "processes": [.listener],
        "bans_file": [.listener],
        "link_users": [.router, .authWorker],
        "log.level": Self.everybody,
        "log.refused_per_second": [.listener],

        "listeners.name": [.router, .listener],
        "listeners.addresses": [.listener],
        "listeners.transport": [.listener],
        "listeners.allow_insecure_network": [.listener],
        "listeners.anonymous": [.listener],
        "listeners.rules": [.listener],
        "listeners.client_certificate": [.listener],
        "listeners.user_name_from": [.listener],
        "listeners.client_id": [.router, .listener],
        "listeners.handshake_timeout": [.listener],
        "listeners.connect_timeout": [.listener],
        "listeners.max_connections": [.listener],
        "listeners.max_connection_rate": [.listener],
        "listeners.proxy_protocol": [.listener],
        "listeners.certificate_expired": [.listener],
        "listeners.certificate_expiry_grace": [.listener],
        "listeners.tls": [.listener],

        "authentication.source": [.listener, .authWorker],
        "authentication.name": [.authWorker],
        "authentication.listeners": [.authWorker],
        "authentication.on_failure": [.authWorker],
        "authentication.command": [.authWorker],
        "authentication.password_hash": [.authWorker],
        "authentication.super_command": [.authWorker],
        "authentication.acl_command": [.authWorker],
        "authentication.file": [.authWorker],
        "authentication.key": [.authWorker],
        "authentication.redis": [.authWorker],
        "authentication.cache": [.authWorker],
        // Listeners ask about live sessions by it.
        "authentication.cache.stale_max": [.listener, .authWorker],
        "authentication.password_changed": [.listener],
        "authentication.revoked_will": [.listener],
        "authentication.worker_timeout": [.listener],

        // Listeners apply them to anonymous clients.
        "authorization.no_match": [.listener, .authWorker],
        "authorization.rules": [.listener, .authWorker],
        "authorization.acl": [.authWorker],
        "authorization.deny_action": [.router],

        "mqtt.max_packet_size": [.router, .listener],
        "mqtt.max_will_size": [.router, .listener],
        "mqtt.max_topic_levels": [.router],
        "mqtt.max_client_id_length": [.router],
        "mqtt.shared_subscription_spread": [.router],
        "mqtt.topic_aliases_to_clients": [.router],
        "mqtt.sys_interval": [.router],
        "mqtt.session": [.router],
        "mqtt.session.max_inflight": [.router, .listener],
        "mqtt.max_sessions": [.router],
        "mqtt.max_queued_bytes_total": [.router],
        "mqtt.retained": [.router],

        "flow_control.session_credit": [.router, .listener],
        "flow_control.link_credit": [.router, .listener],
        "flow_control.partial_packets": [.router],
    ]

    /// Of the `mqtt` section and of each listener's entry.
    private static let rolesOfOffers: [String: [Role]] = [
        "protocol_versions": [.router, .listener],
        "max_qos": [.router],
        "retain_available": [.router],
        "wildcard_subscriptions": [.router],
        "shared_subscriptions": [.router],
        "subscription_identifiers": [.router],
        "receive_maximum": [.router],
        "topic_alias_maximum": [.router, .listener],
        "max_keep_alive": [.router],
        "empty_client_id": [.router],
        "publish_rate": [.listener],
    ]

    /// Nil: nobody has said.
    static func roles(of key: String) -> [Role]? {
        var parts = key.split(separator: ".").filter { !$0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        // An element of the list has what the section has where there is one source.
        if parts.starts(with: ["authentication", "sources"]) { parts.remove(at: 1) }
        while !parts.isEmpty {
            if let roles = Self.roles[parts.joined(separator: ".")] { return roles }
            if parts.count == 2, parts[0] == "mqtt" || parts[0] == "listeners",
                let roles = Self.rolesOfOffers[String(parts[1])]
            {
                return roles
            }
            parts.removeLast()
        }
        return nil
    }

    /// Keys that say something else now, and that a process of the role goes on without until it is started anew: sorted, for people.
    static func waitingKeys(of role: Role, _ before: WrittenValues, _ now: WrittenValues) -> [String] {
        let waiting = before.changes(in: now).filter { change in
            !Self.isReloaded(change.key) && Self.roles(of: change.key)?.contains(role) ?? true
        }
        return Set(waiting.map(\.shown)).sorted()
    }

    /// Whether a change of the key is in force after SIGHUP: the level of the log, and what a listener that was there says of TLS.
    private static func isReloaded(_ key: String) -> Bool {
        let parts = key.split(separator: ".")
        return key == "log.level" || (parts.count > 2 && parts[0] == "listeners" && parts[2] == "tls")
    }
}
