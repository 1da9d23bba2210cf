import Logging

/// Everything that Martlet's one configuration file says, checked and in plain values: what all roles read.
///
/// `deploy/martlet.yaml` documents each key; the names here are the same in Swift's spelling, with the unit at the end. The
/// initial values are the documented defaults, so tests build one without YAML: `var configuration = Configuration()`.
/// Paths are absolute after parsing (relative ones count from the file's folder). Durations are nanoseconds of the
/// monotonic clock unless the name says seconds.
public struct Configuration: Equatable, Sendable {
    /// `runtime_directory`: where the Unix sockets between the roles are.
    public var runtimeDirectory = "/run/martlet"
    /// `state_directory`: what must outlive a restart.
    public var stateDirectory = "/var/lib/martlet"
    /// `durability`: what of the router's state survives what.
    public var durability = Durability.process
    public var processes = Processes()
    /// `bans_file`: who is not let in, see `Ban`. It need not be there.
    public var bansFile = "/etc/martlet/bans"
    /// `link_users`: user names whose processes may connect to the roles' Unix sockets, besides the role's own and root.
    public var linkUsers: [String] = []
    public var log = Log()
    public var listeners: [Listener] = []
    public var authentication = Authentication()
    public var authorization = Authorization()
    public var mqtt = MQTT()
    public var flowControl = FlowControl()
    /// What all of that was read from; empty: nothing was read.
    public internal(set) var written = WrittenValues()

    public init() {}

    public static let nanosecondsPerMillisecond: UInt64 = 1_000_000
    public static let nanosecondsPerSecond: UInt64 = 1_000_000_000
}

extension Configuration {
    public struct Processes: Equatable, Sendable {
        /// Listener processes.
        public var listeners = 1
        /// Auth worker processes.
        public var authWorkers = 1
        /// Connections that each listener process accepts per second, over all listeners; further ones wait. 0: no limit.
        public var maxConnectionRate = 5000
        /// `drain_rate`: clients that a listener that is told to stop lets go per second; 0: all at once.
        public var drainRate = 200
        /// `max_handshakes`: TLS handshakes that each listener process works on at a time; 0: no limit.
        public var maxHandshakes = 256
        /// `router_absence_max`: how long listeners keep clients while there is no router; 0: not at all.
        public var routerAbsenceMaxNanoseconds: UInt64 = 60 * Configuration.nanosecondsPerSecond

        public init() {}
    }

    public struct Log: Equatable, Sendable {
        public var level = Logger.Level.info
        /// Refused connections logged per reason and second; the rest is counted.
        public var refusedPerSecond = 5

        public init() {}
    }

    public struct FlowControl: Equatable, Sendable {
        /// PUBLISH bytes on their way to one client, or from it to the router.
        public var sessionCreditBytes = 256 * 1024
        /// The same for all sessions of one listener process.
        public var linkCreditBytes = 64 * 1024 * 1024
        /// Of packets over 64 KiB that have arrived in part at the router, from all sessions of one listener process.
        public var partialPacketBytesMax = 256 * 1024 * 1024

        public init() {}
    }
}
