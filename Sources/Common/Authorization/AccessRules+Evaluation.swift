// The first rule that applies decides; the filter, the action, the QoS and, for PUBLISH, the retain flag say whether it does.
// Nothing here allocates: this runs for every PUBLISH.
extension AccessRules {
    /// Whether a message may be published. `topic` is a valid topic name, an alias already resolved.
    public func allowsPublish(topic: UnsafeRawBufferPointer, qos: QoS, retain: Bool) -> Bool {
        if self.isSuperuser { return true }
        for rule in self.rules where rule.actions.contains(.publish) && rule.applies(to: qos) {
            guard rule.applies(toRetained: retain) else { continue }
            if rule.matches(topic: topic) { return rule.permission == .allow }
        }
        return self.noMatch == .allow
    }

    /// Whether a filter may be subscribed to. Below `$SYS` only a rule allows that, never `no_match`. `$share/group/filter` is judged as `filter`.
    ///
    /// A rule applies if its filter covers the requested one: if every topic of the request is a topic of the rule. So an
    /// allow rule never grants more than it says. A deny rule that only overlaps the request does not apply: after
    /// `deny a/secret`, `allow a/#`, a subscription to `a/#` is granted, and messages are not filtered on delivery. Whoever
    /// wants `a/secret` kept must not allow a filter that includes it.
    public func allowsSubscribe(filter: UnsafeRawBufferPointer, qos: QoS) -> Bool {
        if self.isSuperuser { return true }
        let requested = TopicFilter.withoutShare(filter)
        for rule in self.rules where rule.actions.contains(.subscribe) && rule.applies(to: qos) {
            if rule.covers(requested) { return rule.permission == .allow }
        }
        // What the broker says of itself is for those whose rules name it.
        return self.noMatch == .allow && !TopicName.isSystem(requested)
    }
}

extension AccessRule {
    fileprivate func applies(to qos: QoS) -> Bool {
        self.qosMask >> qos.rawValue & 1 == 1
    }

    fileprivate func applies(toRetained retain: Bool) -> Bool {
        switch self.retain {
        case .any: true
        case .onlyRetained: retain
        case .onlyNotRetained: !retain
        }
    }

    fileprivate func matches(topic: UnsafeRawBufferPointer) -> Bool {
        self.filter.withUnsafeBytes { filter in
            self.isLiteral ? Self.equal(filter, topic) : TopicFilter.matches(filter: filter, topic: topic)
        }
    }

    fileprivate func covers(_ requested: UnsafeRawBufferPointer) -> Bool {
        self.filter.withUnsafeBytes { filter in
            self.isLiteral ? Self.equal(filter, requested) : TopicFilter.covers(filter, requested)
        }
    }

    private static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where left[index] != right[index] { return false }
        return true
    }
}
