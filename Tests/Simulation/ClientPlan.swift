import Common

/// What kind of client one is.
struct ClientPlan {
    var name: String
    var version: ProtocolVersion
    /// Its session outlives its connections.
    var lasts = false
    var subscriptions: [(filter: String, qos: QoS)] = []
    /// Filters that nothing matches, before each of those: more than the router takes at once where turns are short.
    var furtherFilters = 0
    var publishes = false
    var hasWill = false
    var receiveMaximum: UInt16?
    /// Takes topic aliases, where it speaks MQTT 5.
    var takesAliases = false
    /// Of a shared subscription to `t/#` that it has with others.
    var group: String?
    /// It comes when nothing goes wrong any more.
    var comesLate = false
    /// What Redis has of it, as it comes and at the end.
    var credentials = Credentials.right

    enum Credentials {
        case right
        case wrong
        /// Its row is taken away in the middle.
        case takenAway
        /// Its row comes in the middle.
        case comesLater
    }
}
