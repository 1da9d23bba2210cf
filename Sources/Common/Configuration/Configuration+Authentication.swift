extension Configuration {
    package struct Authentication: Equatable, Sendable {
        package enum Source: String, CaseIterable, Sendable {
            case redis
            /// Then only listeners with `anonymous: true` let anybody in.
            case none
        }

        /// How the stored password was made; `salt,sha256` hashes salt and password in this order (EMQX's grammar).
        package enum PasswordHash: String, CaseIterable, Sendable {
            case plain
            case sha256
            case saltedSHA256 = "salt,sha256"
            case sha256Salted = "sha256,salt"
        }

        package enum PasswordChanged: String, CaseIterable, Sendable {
            case keep
            case close
        }

        package enum RevokedWill: String, CaseIterable, Sendable {
            case publish
            case suppress
        }

        package var source = Source.redis
        /// The Redis command, a template: `%u` user name, `%c` client id, `%C` common name, `%d` subject, or `${username}` and so on.
        package var command = "HMGET tls_domain:%C password"
        package var passwordHash = PasswordHash.plain
        package var redis = Redis()
        /// A listener asks the next auth worker after this long without an answer.
        package var workerTimeoutNanoseconds: UInt64 = 2 * Configuration.nanosecondsPerSecond
        package var cache = Cache()
        /// What happens to a live session whose row has another password or salt now.
        package var passwordChanged = PasswordChanged.keep
        /// What happens to the will of a session that ends because the device is no longer allowed in.
        package var revokedWill = RevokedWill.publish

        package init() {}
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

        package var url = RedisURL.tcp(host: "127.0.0.1", port: 6379)
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
