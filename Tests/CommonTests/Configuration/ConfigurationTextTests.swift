import Testing

@testable import Common

@Suite struct DurationTextTests {
    @Test(arguments: [
        ("0s", 0), ("1ms", 1_000_000), ("500ms", 500_000_000), ("15s", 15_000_000_000), ("5min", 300_000_000_000),
        ("24h", 86_400_000_000_000), ("7d", 604_800_000_000_000), ("3 s", 3_000_000_000),
        ("36500d", 3_153_600_000_000_000_000),
    ])
    func reads(text: String, nanoseconds: UInt64) throws {
        #expect(try DurationText.parse(text) == nanoseconds)
    }

    @Test(arguments: [
        ("", "\"\" is not a duration; write a whole number and ms, s, min, h or d, such as 15s"),
        ("s", "\"s\" is not a duration; write a whole number and ms, s, min, h or d, such as 15s"),
        ("-1s", "\"-1s\" is not a duration; write a whole number and ms, s, min, h or d, such as 15s"),
        ("15", "\"15\" has no unit; for seconds write 15s"),
        ("5m", "\"5m\" has an unknown unit; use ms, s, min, h or d; for minutes write 5min"),
        ("1.5s", "\"1.5s\" has an unknown unit; use ms, s, min, h or d"),
        ("1h30min", "\"1h30min\" has an unknown unit; use ms, s, min, h or d"),
        ("36501d", "\"36501d\" is longer than 36500d, the longest there is"),
        ("18446744073709551615d", "\"18446744073709551615d\" is longer than 36500d, the longest there is"),
    ])
    func refuses(text: String, message: String) {
        #expect(throws: ValueError(message)) { try DurationText.parse(text) }
    }

    @Test func describesInTheLargestUnit() {
        #expect(DurationText.describe(nanoseconds: 86_400_000_000_000) == "1d")
        #expect(DurationText.describe(nanoseconds: 5_400_000_000_000) == "90min")
        #expect(DurationText.describe(nanoseconds: 1_500_000_000) == "1500ms")
        #expect(DurationText.describe(nanoseconds: 0) == "0s")
    }
}

@Suite struct SizeTextTests {
    @Test(arguments: [
        ("0B", 0), ("1B", 1), ("256KiB", 262_144), ("1MiB", 1_048_576), ("4GiB", 4_294_967_296),
        ("1073741824GiB", 1 << 60),
    ])
    func reads(text: String, bytes: Int) throws {
        #expect(try SizeText.parse(text) == bytes)
        #expect(try SizeText.parse(SizeText.describe(bytes: bytes)) == bytes)
    }

    @Test(arguments: [
        ("x", "\"x\" is not a size; write a whole number and B, KiB, MiB or GiB, such as 1MiB"),
        ("100", "\"100\" has no unit; for bytes write 100B"),
        ("1KB", "\"1KB\" has an unknown unit; use B, KiB, MiB or GiB; write 1KiB"),
        ("1mb", "\"1mb\" has an unknown unit; use B, KiB, MiB or GiB; write 1MiB"),
        ("2g", "\"2g\" has an unknown unit; use B, KiB, MiB or GiB; write 2GiB"),
        ("3Ki", "\"3Ki\" has an unknown unit; use B, KiB, MiB or GiB; write 3KiB"),
        ("3kib", "\"3kib\" has an unknown unit; use B, KiB, MiB or GiB; write 3KiB"),
        // Was taken for 5MiB.
        ("5minutes", "\"5minutes\" has an unknown unit; use B, KiB, MiB or GiB"),
        ("5ms", "\"5ms\" has an unknown unit; use B, KiB, MiB or GiB"),
        ("1 TiB", "\"1 TiB\" has an unknown unit; use B, KiB, MiB or GiB"),
        ("1073741825GiB", "\"1073741825GiB\" is more than 1073741824GiB, the most there is"),
        ("1\u{212A}iB", "\"1\u{212A}iB\" has an unknown unit; use B, KiB, MiB or GiB"),
    ])
    func refuses(text: String, message: String) {
        #expect(throws: ValueError(message)) { try SizeText.parse(text) }
    }
}

@Suite struct ListenAddressTests {
    @Test(arguments: [
        "127.0.0.1:1883", "0.0.0.0:8883", "[::]:8883", "[::1]:0", "[2001:db8::7]:65535", "[::ffff:127.0.0.1]:1",
    ])
    func readsAndWritesBack(text: String) throws {
        #expect(try ListenAddress.parse(text).description == text)
    }

    @Test(arguments: [
        ("8883", "\"8883\" has no port; write address:port, such as 127.0.0.1:1883 or \"[::]:8883\""),
        ("127.0.0.1:", "\"127.0.0.1:\": the port must be a number from 0 to 65535"),
        ("127.0.0.1:65536", "\"127.0.0.1:65536\": the port must be a number from 0 to 65535"),
        ("[::]", "\"[::]\" has no port; write \"[address]:port\", such as \"[::]:8883\""),
        ("[::x]:1", "\"[::x]:1\": \"::x\" is not an IPv6 address"),
        ("2001:db8::7:88", "\"2001:db8::7:88\": an IPv6 address needs brackets; write \"[2001:db8::7]:88\""),
        ("localhost:1883", "\"localhost:1883\" is a name; write 127.0.0.1:1883, \"[::1]:1883\" or both"),
        ("*:8883", "\"*:8883\" has no address; for all of the host's write \"[::]:8883\""),
        (":8883", "\":8883\" has no address; for all of the host's write \"[::]:8883\""),
        ("broker.lan:1", "\"broker.lan:1\": \"broker.lan\" is not an IP address (names are not looked up)"),
        ("1.2.3.256:1", "\"1.2.3.256:1\": \"1.2.3.256\" is not an IP address (names are not looked up)"),
    ])
    func refuses(text: String, message: String) {
        #expect(throws: ValueError(message)) { try ListenAddress.parse(text) }
    }

    @Test func knowsLoopback() throws {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            #expect(try ListenAddress.parse(text).isLoopback, "\(text)")
        }
        for text in ["0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::2]:1", "[::ffff:10.0.0.1]:1", "[1::1]:1"] {
            #expect(try !ListenAddress.parse(text).isLoopback, "\(text)")
        }
    }

    @Test func knowsWhatCannotBeBoundAtOnce() throws {
        func overlap(_ left: String, _ right: String) throws -> Bool {
            try ListenAddress.parse(left).overlaps(ListenAddress.parse(right))
        }
        #expect(try overlap("[::]:1", "127.0.0.1:1"))
        #expect(try overlap("127.0.0.1:1", "[::]:1"))
        #expect(try overlap("0.0.0.0:1", "127.0.0.1:1"))
        #expect(try !overlap("0.0.0.0:1", "[::1]:1"))
        #expect(try !overlap("[::]:1", "[::]:2"))
        #expect(try !overlap("127.0.0.1:1", "127.0.0.2:1"))
        #expect(try !overlap("127.0.0.1:0", "127.0.0.1:0"))
    }
}

@Suite struct RedisURLTests {
    @Test(arguments: [
        ("redis://127.0.0.1:6379/0", RedisURL.tcp(host: "127.0.0.1", port: 6379)),
        ("redis://cache.lan", RedisURL.tcp(host: "cache.lan", port: 6379)),
        ("redis://cache.lan:7000/3", RedisURL.tcp(host: "cache.lan", port: 7000, database: 3)),
        ("redis://[::1]:6380/", RedisURL.tcp(host: "::1", port: 6380)),
        ("redis://[::1]", RedisURL.tcp(host: "::1", port: 6379)),
        ("redis://martlet@h:1/2", RedisURL(server: .tcp(host: "h", port: 1), user: "martlet", database: 2)),
        ("redis://we%3Ai%40rd%25@h:1/2", RedisURL(server: .tcp(host: "h", port: 1), user: "we:i@rd%", database: 2)),
        ("unix://a%2fb@/s", RedisURL(server: .unixSocket(path: "/s"), user: "a/b")),
        ("unix:///run/redis/redis.sock", RedisURL.unixSocket("/run/redis/redis.sock")),
        ("unix:///srv/my dir/redis.sock", RedisURL.unixSocket("/srv/my dir/redis.sock")),
        ("unix:///run/r@1.sock?db=4", RedisURL.unixSocket("/run/r@1.sock", database: 4)),
    ])
    func reads(text: String, url: RedisURL) throws {
        #expect(try RedisURL.parse(text) == url)
        #expect(try RedisURL.parse(url.description) == url)
    }

    @Test(arguments: [
        (
            "127.0.0.1:6379",
            "\"127.0.0.1:6379\" is not a Redis address; write redis://[user@]host:port[/database], rediss:// for TLS, or unix:///path[?db=n]"
        ),
        ("redis://h:0", "\"redis://h:0\": the port must be a number from 1 to 65535"),
        ("redis://h:x", "\"redis://h:x\": the port must be a number from 1 to 65535"),
        ("redis://h:1/x", "\"redis://h:1/x\": the database must be a number"),
        ("redis://a%zz@h:1", "in the address, write %25 for % itself, and %3A or %40 for : or @ in the user's name"),
        ("redis://a%0a@h:1", "in the address, write %25 for % itself, and %3A or %40 for : or @ in the user's name"),
        ("redis://a%4@h:1", "in the address, write %25 for % itself, and %3A or %40 for : or @ in the user's name"),
        ("unix:///s?x=1", "\"unix:///s?x=1\": after ? only db=n is known"),
        ("unix://s", "\"unix://s\" names no absolute path; write unix:///path[?db=n]"),
    ])
    func refuses(text: String, message: String) {
        #expect(throws: ValueError(message)) { try RedisURL.parse(text) }
    }

    @Test(arguments: ["redis://:secret@h:1", "redis://u:secret@h:1", "redis://u:sec/ret@h", "unix://u:secret@/s"])
    func neverShowsAPassword(text: String) throws {
        let error = try #require(throws: ValueError.self) { try RedisURL.parse(text) }
        #expect(error.message.hasPrefix("a password does not belong into the address"))
        #expect(!error.message.contains("sec"))
    }
}
