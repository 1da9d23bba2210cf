import Common

/// What the configured listeners offer, by their names. Sessions refer to a policy by its number.
struct ListenerPolicies {
    struct Policy {
        var offer: Configuration.Offer
        var clientID = Configuration.Listener.ClientIDPolicy.any
    }

    /// Number 0 is for a listener that the configuration does not name: what the `mqtt` section says.
    private var policies: [Policy]
    private var numbers: [[UInt8]: Int] = [:]

    init(_ configuration: Configuration) {
        self.policies = [Policy(offer: configuration.mqtt.offer)]
        for listener in configuration.listeners {
            self.numbers[Array(listener.name.utf8)] = self.policies.count
            self.policies.append(Policy(offer: listener.offer, clientID: listener.clientID))
        }
    }

    func number(of name: [UInt8]) -> Int { self.numbers[name] ?? 0 }

    subscript(number: Int) -> Policy {
        @inline(__always) _read { yield self.policies[number] }
    }
}

extension RouterCore {
    /// What the listener that the session is connected through offers.
    @inline(__always)
    func offer(to session: Session) -> Configuration.Offer { self.policies[session.policy].offer }
}
