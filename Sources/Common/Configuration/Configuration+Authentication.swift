extension Configuration {
    package struct Authentication: Equatable, Sendable {
        package enum PasswordChanged: String, CaseIterable, Sendable {
            case keep
            case close
        }

        package enum RevokedWill: String, CaseIterable, Sendable {
            case publish
            case suppress
        }

        /// Asked one after the other until one allows or denies; never empty. The short form of the file makes one.
        package var sources = [Source()]
        /// A listener asks the next auth worker after this long without an answer.
        package var workerTimeoutNanoseconds: UInt64 = 2 * Configuration.nanosecondsPerSecond
        /// What happens to a live session whose row has another password or salt now.
        package var passwordChanged = PasswordChanged.keep
        /// What happens to the will of a session that ends because the device is no longer allowed in.
        package var revokedWill = RevokedWill.publish

        package init() {}

        /// Listeners have somebody to ask.
        package var usesWorkers: Bool { self.sources.contains { $0.kind != .none } }

        /// The shortest time for which a row of any source may be stale.
        package var staleMaxNanoseconds: UInt64 {
            self.sources.map(\.cache.staleMaxNanoseconds).min() ?? Cache().staleMaxNanoseconds
        }
    }
}

// The only source, or the first of several.
extension Configuration.Authentication {
    package var source: SourceKind {
        get { self.sources[0].kind }
        set { self.sources[0].kind = newValue }
    }
    package var command: String {
        get { self.sources[0].command }
        set { self.sources[0].command = newValue }
    }
    package var passwordHash: PasswordHash {
        get { self.sources[0].passwordHash }
        set { self.sources[0].passwordHash = newValue }
    }
    package var superCommand: String? {
        get { self.sources[0].superCommand }
        set { self.sources[0].superCommand = newValue }
    }
    package var accessCommand: String? {
        get { self.sources[0].accessCommand }
        set { self.sources[0].accessCommand = newValue }
    }
    package var redis: Redis {
        get { self.sources[0].redis }
        set { self.sources[0].redis = newValue }
    }
    package var cache: Cache {
        get { self.sources[0].cache }
        set { self.sources[0].cache = newValue }
    }
}

extension Configuration.Authentication {
    package struct Redis: Equatable, Sendable {
        /// How changes of rows are learned.
        package enum Invalidation: String, CaseIterable, Sendable {
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
        package enum Topology: Equatable, Sendable {
            /// The one of `url`.
            case single
            /// The one that Sentinel names as the master.
            case sentinel(Sentinel)
            /// The masters of a Redis Cluster, of which these servers tell.
            case cluster([RedisURL.Server])

            package var isSentinel: Bool { if case .sentinel = self { true } else { false } }
        }

        package struct Sentinel: Equatable, Sendable {
            package var servers: [RedisURL.Server] = []
            /// What the Sentinels call the group of servers.
            package var master = ""
            /// Their own credentials.
            package var user: String?
            package var passwordFile: String?

            package init() {}
        }

        package enum Verification: String, CaseIterable, Sendable {
            /// The server's chain of certificates and its name.
            case full
            /// Whoever answers is believed.
            case none
        }

        package struct TLS: Equatable, Sendable {
            /// nil: those that the system trusts.
            package var caFile: String?
            package var certificateFile: String?
            package var keyFile: String?
            package var keyPasswordFile: String?
            /// What the certificate must be for; nil: the host that is connected to.
            package var serverName: String?
            package var verify = Verification.full

            package init() {}
        }

        /// With Sentinel or Cluster user, database and TLS are taken from it, and its server has no meaning.
        package var url = RedisURL.tcp(host: "127.0.0.1", port: 6379)
        package var topology = Topology.single
        package var tls = TLS()
        /// A file whose first line is the password.
        package var passwordFile: String?
        package var connectTimeoutNanoseconds: UInt64 = 1 * Configuration.nanosecondsPerSecond
        package var queryTimeoutNanoseconds: UInt64 = 500 * Configuration.nanosecondsPerMillisecond
        /// Commands in flight on the connection; more wait in the queue.
        package var pipelineMax = 1000
        /// Look-ups waiting for Redis; more are answered "server unavailable".
        package var queueMax = 100_000
        package var invalidation = Invalidation.auto
        /// Where no changes are announced: how often all that is live is asked about again.
        package var pollIntervalNanoseconds: UInt64 = 60 * Configuration.nanosecondsPerSecond

        package init() {}
    }

    package struct Cache: Equatable, Sendable {
        package var enabled = true
        /// Absolute after parsing: a relative one counts from the state directory.
        package var directory = "/var/lib/martlet/auth-cache"
        /// How long a row counts as fresh.
        package var positiveTTLNanoseconds: UInt64 = 300 * Configuration.nanosecondsPerSecond
        /// How long a row is good for while Redis is unreachable.
        package var staleMaxNanoseconds: UInt64 = 86_400 * Configuration.nanosecondsPerSecond
        /// How long a CONNECT whose row is not fresh waits for Redis before the row is good enough.
        package var staleAfterNanoseconds: UInt64 = 30 * Configuration.nanosecondsPerMillisecond
        /// How long "no such device" is believed.
        package var negativeTTLNanoseconds: UInt64 = 10 * Configuration.nanosecondsPerSecond
        /// Per worker.
        package var memoryEntries = 100_000
        package var diskEntries = 1_000_000
        /// Kept apart, so that unknown devices cannot push out known ones.
        package var negativeEntries = 20_000

        package init() {}
    }
}
