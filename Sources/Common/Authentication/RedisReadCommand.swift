/// The Redis commands that a template may use: those that Redis itself flags as read-only and whose answer can hold a row.
public enum RedisReadCommand {
    /// Where the key stands among the arguments, the name being 0; nil: not to be used.
    public static func keyIndex(_ name: String) -> Int? {
        if Self.firstArgumentIsKey.contains(name) { return 1 }
        // script, number of keys, key …
        if ["EVAL_RO", "EVALSHA_RO", "FCALL_RO"].contains(name) { return 3 }
        return nil
    }

    /// These take keys up to their end.
    static let allArgumentsAreKeys: Set<String> = ["EXISTS", "MGET", "SDIFF", "SINTER", "SUNION"]

    private static let firstArgumentIsKey: Set<String> = [
        "BITCOUNT", "BITFIELD_RO", "BITPOS", "EXISTS", "EXPIRETIME", "GET", "GETBIT", "GETRANGE", "HEXISTS", "HGET",
        "HGETALL", "HKEYS", "HLEN", "HMGET", "HRANDFIELD", "HSTRLEN", "HVALS", "LINDEX", "LLEN", "LPOS", "LRANGE",
        "MGET",
        "PEXPIRETIME", "PTTL", "SCARD", "SDIFF", "SINTER", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "SORT_RO",
        "SRANDMEMBER",
        "STRLEN", "SUBSTR", "SUNION", "TTL", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE",
        "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZREVRANK",
        "ZSCORE",
    ]

    /// Whether a number says that something is there: a place counts from 0, and a key without an expiry has the time to live -1.
    public static func says(_ number: Int64, _ name: String) -> Bool {
        switch name {
        case "BITPOS", "LPOS", "ZRANK", "ZREVRANK": number >= 0
        case "EXPIRETIME", "PEXPIRETIME", "PTTL", "TTL": number > -2
        default: number > 0
        }
    }

    /// Answers a number: good for "the row is there", never for a password.
    public static let answeringNumbers: Set<String> = [
        "BITCOUNT", "BITPOS", "EXISTS", "EXPIRETIME", "GETBIT", "HEXISTS", "HLEN", "HSTRLEN", "LLEN", "LPOS",
        "PEXPIRETIME",
        "PTTL", "SCARD", "SISMEMBER", "STRLEN", "TTL", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZRANK", "ZREVRANK",
    ]

    /// Answers a list of numbers: the same.
    public static let answeringNumberLists: Set<String> = ["BITFIELD_RO", "SMISMEMBER"]

    /// May answer an empty text where there is no key, so that such an answer says that nothing is there: the commands that cut a part out
    /// of a text, and scripts, of which nobody knows what they ask.
    public static let answeringEmptyForNothing: Set<String> = [
        "EVALSHA_RO", "EVAL_RO", "FCALL_RO", "GETRANGE", "SUBSTR",
    ]
}
