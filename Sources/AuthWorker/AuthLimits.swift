import Common

/// Bounds of the auth worker that are not configuration.
package enum AuthLimits {
    /// Longest reply taken from Redis, in bytes, and most elements of an array in it. A credential row is below a kilobyte. A longer
    /// reply is passed over, and an error to whoever asked for it.
    package static let replyBytesMax = 1 << 20
    package static let replyElementsMax = 65_536

    /// A reply longer than this is not passed over: others wait behind it, and it may have no end. It closes the connection.
    package static let replyBytesPassedMax = 64 << 20

    /// Longest stored hash, password or salt, in bytes. A longer one makes the row unusable (`LookupResult.tooLong`), which
    /// is never a denial.
    package static let credentialBytesMax = 4096

    /// Longest rendered Redis key, in bytes. Subjects can be long; a longer key comes from no certificate worth having.
    package static let redisKeyBytesMax = 16 << 10

    /// Memory for this many decisions of a turn is kept for the next one.
    static let actionsKeptMax = 4096

    /// While others wait too, one of so many commands to Redis is one in the background: see `CommandUrgency`.
    package static let backgroundShare = 8

    /// Queries decided in one turn, and in addition those about live sessions, with looks at rows that had changed; the rest waits for the
    /// next turn, so that what was decided leaves in between. One costs up to 0.2 ms.
    package static let queriesPerTurn = 1000
    package static let backgroundPerTurn = 64

    /// Queries of clients that wait for that, and queries about live sessions, some 500 bytes each; more are answered "server unavailable".
    package static let queriesWaitingMax = 100_000

    /// A quiet connection is asked for a sign of life this often, so that the first device does not pay for noticing.
    package static let idlePingNanoseconds: UInt64 = Nanoseconds.perSecond

    /// A server that Sentinel named is asked this often whether it still is the master: one that was demoted without noticing, or
    /// that clients can still reach, must not go on answering.
    package static let roleCheckNanoseconds: UInt64 = 500 * Nanoseconds.perMillisecond

    /// A Sentinel is asked this often which server is the master, and given up for the next one after this long without an
    /// answer.
    package static let sentinelPollNanoseconds: UInt64 = 250 * Nanoseconds.perMillisecond
    package static let sentinelSilenceNanoseconds: UInt64 = Nanoseconds.perSecond
    /// Between two Sentinels that are left because the master that they name cannot be used.
    package static let sentinelDoubtNanoseconds: UInt64 = 400 * Nanoseconds.perMillisecond

    /// A command goes to this many nodes of a Redis Cluster at most, and waits this long where a slot is on its way between two.
    package static let clusterRedirectionsMax = 5
    package static let clusterRetryNanoseconds: UInt64 = 50 * Nanoseconds.perMillisecond

    /// Which node has which slot is asked at most this often.
    package static let clusterRefreshNanoseconds: UInt64 = 500 * Nanoseconds.perMillisecond

    /// A node that commands are sent on to for a slot on its way, and that gets none, counts as a master for so long after the last one; the
    /// second one where it cannot be reached.
    package static let clusterImportingNanoseconds: UInt64 = 600 * Nanoseconds.perSecond
    package static let clusterImportingLostNanoseconds: UInt64 = 5 * Nanoseconds.perSecond

    /// Nodes of a Redis Cluster that connections are held to; a map with more is refused.
    package static let clusterNodesMax = 512

    /// Decisions that `martlet why` can tell of; some 500 bytes each.
    package static let decisionsKept = 4096

    /// Delays between attempts to reach Redis. The longest one bounds how late its return is noticed.
    package static let reconnectInitialNanoseconds: UInt64 = 50 * Nanoseconds.perMillisecond
    package static let reconnectMaximumNanoseconds: UInt64 = Nanoseconds.perSecond

    /// A connection to Redis that has lived for this long, and for the time of a query, was of use: only then do these delays begin anew. After
    /// so many in a row that did not, no attempt is made at once any more, and it is an alarm.
    package static let connectionSettledNanoseconds: UInt64 = 5 * Nanoseconds.perSecond
    package static let connectionsShortLivedMax = 3

    /// One look-up per key and this long is forced by passwords that fail against a cached row.
    package static let forcedLookupIntervalNanoseconds: UInt64 = Nanoseconds.perSecond

    /// Passwords that wait for being compared by bcrypt or PBKDF2; more are answered "server unavailable".
    package static let passwordChecksWaitingMax = 10_000

    /// One that has waited for so long is not compared any more: its listener has refused the client.
    package static let passwordCheckWaitNanoseconds = Limits.brokerWaitNanoseconds

    /// Threads that compare them; they share the machine's cores with everything else.
    package static let passwordThreadsMax = 4

    /// A look-up is made again when its key is announced as changed meanwhile, this often: a key that changes all the time must
    /// not keep a device out.
    package static let outdatedLookupsMax = 3

    /// Until then all workers have been told of a change and have marked the row.
    package static let lookAgainNanoseconds: UInt64 = Nanoseconds.perSecond

    /// Keys announced as changed that are remembered while the cache file is being marked.
    package static let namedKeysMax = 65_536

    /// The subscription for changes is asked for a sign of life this often, and given up after this long without one.
    package static let subscriptionPingNanoseconds: UInt64 = 250 * Nanoseconds.perMillisecond
    package static let subscriptionSilenceNanoseconds: UInt64 = Nanoseconds.perSecond

    /// So much of them is read in one turn. By default Redis gives up a connection for which 32 MiB wait.
    static let changesBytesMax = 64 << 20

    /// Between two turns there are no more than the former. After the first of these what changed is read before anything is decided by what
    /// is known, and a deadline that has passed for so long is not held against the server; the second is no silence of the server's.
    package static let lateTurnNanoseconds: UInt64 = 100 * Nanoseconds.perMillisecond
    package static let stallNanoseconds: UInt64 = 500 * Nanoseconds.perMillisecond

    /// While Redis answers and tells no changes, everything live is asked about this often, or as often as listeners get through; and
    /// after this long it is an alarm.
    package static let feedLossRoundNanoseconds: UInt64 = 5 * Nanoseconds.perSecond
    package static let feedLossAlarmNanoseconds: UInt64 = 5 * Nanoseconds.perSecond

    /// A worker that is asked to confirm that rows are gone, and has heard so long ago that this is over, says that.
    static let confirmationNanoseconds: UInt64 = 10 * Nanoseconds.perSecond

    /// It is an alarm when it cannot be told for so long whether Redis has its rows.
    package static let dataCheckAlarmNanoseconds: UInt64 = 5 * Nanoseconds.perSecond

    /// It is an alarm when Redis cannot be reached, or answers no look-up, for so long; the latter is none any more when nobody has asked for
    /// the second of these.
    package static let lookupAlarmNanoseconds: UInt64 = 5 * Nanoseconds.perSecond
    package static let lookupAlarmKeptNanoseconds: UInt64 = 60 * Nanoseconds.perSecond

    /// What the log left out about connections is told after so long, if it still is so.
    static let connectionLogNanoseconds: UInt64 = 10 * Nanoseconds.perSecond

    /// A server that tells changes by keyspace events is asked this often whether it still does: as long as may pass without word of it.
    package static let keyspaceCheckNanoseconds: UInt64 = Nanoseconds.perSecond

    /// Between notes in the cache file that changes are still told; a sixteenth of `stale_max` where that is less. A worker that is killed
    /// loses so much of what it knew.
    package static let toldIntervalNanoseconds: UInt64 = 60 * Nanoseconds.perSecond

    /// Between questions whether Redis may evict rows.
    static let evictionCheckNanoseconds: UInt64 = 10 * Nanoseconds.perSecond

    /// Larger steps of the wall clock are told, and are an alarm for this long.
    static let clockToleranceMilliseconds: Int64 = 60_000
    static let clockAlarmNanoseconds: UInt64 = 3600 * Nanoseconds.perSecond

    /// Rows that wait for the thread that writes the cache file; more are dropped and counted, the look-ups were answered
    /// anyway.
    package static let cacheWritesWaitingMax = 50_000

    /// Rows of memory that are written into a new cache file between two inspections.
    static let rowsWrittenAgain = 10_000

    /// Memory for pages of the cache file, in the thread that writes it.
    package static let cachePagesKiB = 8192

    /// Rows written in one transaction, so that other workers get their turn at the write lock.
    package static let cacheWritesPerTransaction = 500

    /// Between transactions that only write rows: the first is written at once, those that come right behind it together. Marks do not
    /// wait.
    package static let cacheGatheringNanoseconds: UInt64 = 10 * Nanoseconds.perMillisecond

    /// Rows of a source of which none was current for this long go from the cache file, some at a time: its command is not in the
    /// configuration any more. A source in use asks about its live sessions every quarter of `stale_max`.
    package static let abandonedSourceMilliseconds: Int64 = 100 * 86_400_000

    /// A key that was named as changed and that nobody has a row of is marked in the cache file for this long, and up to as long again: a
    /// look-up that began before the change is over by then, or what it brought is not stored.
    package static let rowlessMarkMilliseconds: Int64 = 600_000

    /// How long the writing thread waits for another worker's transaction before it tries again; short, because the end of
    /// the process waits for it.
    package static let cacheLockWaitMilliseconds: Int32 = 1000

    /// A cache file that is locked for longer than this is not written any more, and somebody is told.
    package static let cacheLockedMaxNanoseconds: UInt64 = 5 * Nanoseconds.perSecond

    /// Between looks whether another worker replaced the cache file, and between attempts at a cache that could not be used.
    package static let cacheInspectionNanoseconds: UInt64 = Nanoseconds.perSecond

    /// So long the thread that writes the cache file waits for the loop to close it; then it opens it all the same, and tries again later
    /// if that was too early.
    package static let cacheClosingNanoseconds: UInt64 = Nanoseconds.perSecond

    /// Between attempts at a cache whose folder could not be used when the worker began.
    package static let cacheFolderNanoseconds: UInt64 = 3 * Nanoseconds.perSecond

    /// Verdicts waiting for one listener; one that lets this much pile up does not read, and is closed.
    package static let linkOutputBytesMax = 64 << 20
}
