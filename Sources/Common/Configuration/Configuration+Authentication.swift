extension Configuration {
    public struct Authentication: Equatable, Sendable {
        public enum PasswordChanged: String, CaseIterable, Sendable {
            case keep
            case close
        }

        public enum RevokedWill: String, CaseIterable, Sendable {
            case publish
            case suppress
        }

        /// Asked one after the other until one allows or denies; never empty. The short form of the file makes one.
        public var sources = [Source()]
        /// A listener asks the next auth worker after this long without an answer.
        public var workerTimeoutNanoseconds: UInt64 = 2 * Configuration.nanosecondsPerSecond
        /// What happens to a live session whose row has another password or salt now.
        public var passwordChanged = PasswordChanged.keep
        /// What happens to the will of a session that ends because the device is no longer allowed in.
        public var revokedWill = RevokedWill.publish

        public init() {}

        /// Listeners have somebody to ask.
        public var usesWorkers: Bool { self.sources.contains { $0.kind != .none } }

        /// The shortest time for which a row of any source may be stale.
        public var staleMaxNanoseconds: UInt64 {
            self.sources.map(\.cache.staleMaxNanoseconds).min() ?? Cache().staleMaxNanoseconds
        }
    }
}

// The only source, or the first of several.
extension Configuration.Authentication {
    public var source: SourceKind {
        get { self.sources[0].kind }
        set { self.sources[0].kind = newValue }
    }
    public var command: String {
        get { self.sources[0].command }
        set { self.sources[0].command = newValue }
    }
    public var passwordHash: PasswordHash {
        get { self.sources[0].passwordHash }
        set { self.sources[0].passwordHash = newValue }
    }
    public var superCommand: String? {
        get { self.sources[0].superCommand }
        set { self.sources[0].superCommand = newValue }
    }
    public var accessCommand: String? {
        get { self.sources[0].accessCommand }
        set { self.sources[0].accessCommand = newValue }
    }
    public var redis: Redis {
        get { self.sources[0].redis }
        set { self.sources[0].redis = newValue }
    }
    public var cache: Cache {
        get { self.sources[0].cache }
        set { self.sources[0].cache = newValue }
    }
}

extension Configuration.Authentication {
    public struct Redis: Equatable, Sendable {
        /// How changes of rows are learned.
        public enum Invalidation: String, CaseIterable, Sendable {
            /// The first of the others that Redis allows.
            case auto
            /// CLIENT TRACKING in broadcast mode.
            case tracking
            /// Keyspace events, which the server must have been told to send (notify-keyspace-events KA).
            case keyspace
            /// Keys published on the channel martlet:revoke.
            case channel
            /// All rows are asked for again from time to time.
            case poll
            case off
        }

        /// Which server commands go to.
        public enum Topology: Equatable, Sendable {
            /// The one of `url`.
            case single
            /// The one that Sentinel names as the master.
            case sentinel(Sentinel)
            /// The masters of a Redis Cluster, of which these servers tell.
            case cluster([RedisURL.Server])

            public var isSentinel: Bool { if case .sentinel = self { true } else { false } }
        }

        public struct Sentinel: Equatable, Sendable {
            public var servers: [RedisURL.Server] = []
            /// What the Sentinels call the group of servers.
            public var master = ""
            /// Their own credentials.
            public var user: String?
            public var passwordFile: String?

            public init() {}
        }

        public enum Verification: String, CaseIterable, Sendable {
            /// The server's chain of certificates and its name.
            case full
            /// Whoever answers is believed.
            case none
        }

        public struct TLS: Equatable, Sendable {
            /// nil: those that the system trusts.
            public var caFile: String?
            public var certificateFile: String?
            public var keyFile: String?
            public var keyPasswordFile: String?
            /// What the certificate must be for; nil: the host that is connected to.
            public var serverName: String?
            public var verify = Verification.full

            public init() {}
        }

        /// With Sentinel or Cluster user, database and TLS are taken from it, and its server has no meaning.
        public var url = RedisURL.tcp(host: "127.0.0.1", port: 6379)
        public var topology = Topology.single
        public var tls = TLS()
        /// A file whose first line is the password.
        public var passwordFile: String?
        public var connectTimeoutNanoseconds: UInt64 = 1 * Configuration.nanosecondsPerSecond
        public var queryTimeoutNanoseconds: UInt64 = 500 * Configuration.nanosecondsPerMillisecond
        /// Commands in flight on the connection; more wait in the queue.
        public var pipelineMax = 1000
        /// Look-ups waiting for Redis; more are answered "server unavailable".
        public var queueMax = 100_000
        public var invalidation = Invalidation.auto
        /// Where no changes are announced: how often all that is live is asked about again.
        public var pollIntervalNanoseconds: UInt64 = 60 * Configuration.nanosecondsPerSecond

        public init() {}
    }

    public struct Cache: Equatable, Sendable {
        public var enabled = true
        /// Absolute after parsing: a relative one counts from the state directory.
        public var directory = "/var/lib/martlet/auth-cache"
        /// How long a row counts as fresh.
        public var positiveTTLNanoseconds: UInt64 = 300 * Configuration.nanosecondsPerSecond
        /// How long a row is good for while Redis is unreachable.
        public var staleMaxNanoseconds: UInt64 = 86_400 * Configuration.nanosecondsPerSecond
        /// How long a CONNECT whose row is not fresh waits for Redis before the row is good enough.
        public var staleAfterNanoseconds: UInt64 = 30 * Configuration.nanosecondsPerMillisecond
        /// How long "no such device" is believed.
        public var negativeTTLNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        /// Per worker.
        public var memoryEntries = 100_000
        public var diskEntries = 1_000_000
        /// Kept apart, so that unknown devices cannot push out known ones.
        public var negativeEntries = 20_000

        public init() {}
    }
}
