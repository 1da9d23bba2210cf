import Common
import Glibc
import TestSupport
import Testing

/// `martlet why`, `martlet auth test` and `martlet cache` against real processes.
@Suite struct ExplainingTests {
    private func martlet(_ broker: TestBroker, _ arguments: String...) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    private func connect(_ broker: TestBroker, _ loop: EventLoop, _ device: String, _ password: String?) throws -> UInt8
    {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        defer { client.cut() }
        return try client.connect(clientIdentifier: "id-\(device)", userName: "u", password: password).returnCode
    }

    @Test("why tells of both processes what a device did, what was asked and what came of it, and no secret")
    func why() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("why-known", password: "the-secret")
        #expect(try self.connect(broker, loop, "why-known", "the-secret") == 0)
        #expect(try self.connect(broker, loop, "why-known", "a-guess") == 0x86)
        #expect(try self.connect(broker, loop, "why-stranger", "the-secret") == 0x87)

        let known = try self.martlet(broker, "why", "why-known")
        #expect(known.status == 0, "\(known.output)")
        for text in [
            "session opened", "refused", "wrong-password", "HMGET tls_domain:why-known password", "known current",
            "row_password", "plain in Redis, kept as a code", "TLSv1.3", "TLS handshake", "id-why-known",
        ] { #expect(known.output.contains(text), "\(text) is missing in\n\(known.output)") }
        #expect(!known.output.contains("the-secret") && !known.output.contains("a-guess"))

        let stranger = try self.martlet(broker, "why", "id-why-stranger", "--json")
        #expect(stranger.output.contains(#""reason":"no-such-device""#), "\(stranger.output)")
        #expect(stranger.output.contains(#""in_memory":"no such row"#), "\(stranger.output)")
        let text = try self.martlet(broker, "why", "why-stranger").output
        #expect(text.contains("HSET tls_domain:why-stranger password"), "\(text)")
        #expect(try self.martlet(broker, "why", "nobody").output.contains("nothing is known of nobody"))
        #expect(try self.martlet(broker, "why", "a\nb").output.contains(#"nothing is known of a\u{a}b"#))
    }

    /// It said that they are let in, and listeners refused them.
    @Test(
        "Regression: auth test knows which characters CONNECT may not have",
        arguments: ["a\u{1}b", "a\u{FFFE}b", "a\u{85}"]
    )
    func charactersInConnect(text: String) throws {
        let broker = try TestBroker()
        try broker.provision("test-odd", password: "pw")
        let certificate = try broker.pki.device("test-odd").certificateFile
        for option in ["--client-id", "--user"] {
            let words = ["auth", "test", "--cert", certificate, "--password", "pw", option, text, "--json"]
            let result = try runProcess(
                TestBroker.executable("martlet"),
                arguments: words + ["--config", broker.directory.file("martlet.yaml")]
            )
            #expect(result.status == 1 && result.output.contains("malformed-connect"), "\(result.output)")
        }
    }

    /// It said nothing, and exited with the verdict.
    @Test(
        "Regression: auth test exits with 3 where standard output does not take what it found",
        arguments: ["", "--json"]
    )
    func fullOutput(option: String) throws {
        let broker = try TestBroker()
        try broker.provision("test-full", password: "pw")
        let martlet = try TestBroker.executable("martlet")
        let certificate = try broker.pki.device("test-full").certificateFile
        let words = "auth test --cert '\(certificate)' --password pw \(option)"
        let result = try runProcess(
            "sh",
            arguments: ["-c", "'\(martlet)' \(words) --config '\(broker.directory.file("martlet.yaml"))' > /dev/full"]
        )
        #expect(result.status == 3 && result.output.contains("standard output: No space left"), "\(result.output)")
    }

    /// A counter was all that there was: which device sent to a wrong topic, nobody could say.
    @Test("why and the log tell what a device was not allowed to publish and to subscribe to")
    func denials() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("why-denied", password: "pw")
        let tls = try broker.tlsContext(try broker.pki.device("why-denied"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        #expect(try client.connect(clientIdentifier: "id-denied", userName: "u", password: "pw").returnCode == 0)
        #expect(
            try client.subscribe("devices/\u{202E}other/#", qos: .atLeastOnce) == [ReasonCode.notAuthorized.rawValue]
        )
        for identifier in 1...2 as ClosedRange<UInt16> {
            client.publish("devices/other/x", [1], qos: .atLeastOnce, retain: true, packetIdentifier: identifier)
            guard case .puback(let puback) = try client.next() else { throw ProcessError(description: "no PUBACK") }
            #expect(puback.reasonCode == .notAuthorized)
        }
        for name in ["why-denied", "id-denied"] {
            let why = try self.martlet(broker, "why", name).output
            for text in [
                "may it publish?", "devices/other/x", "may it subscribe?", #"devices/\u{202e}other/#"#,
                "session opened",
            ] { #expect(why.contains(text), "\(text) is missing in\n\(why)") }
        }
        let json = try self.martlet(broker, "why", "why-denied", "--json").output
        #expect(json.contains(#""topic":"devices/other/x","qos":"1","retain":"yes""#), "\(json)")
        let log = broker.router.log
        #expect(
            log.contains(
                #"SUBSCRIBE not allowed by the client's rules client=id-denied filter="devices/\u{202e}other/#""#
            )
        )
        #expect(
            log.split(separator: "\n").count { $0.contains("not allowed by the client's rules") } == 1,
            "one line in a minute"
        )
    }

    @Test("A name that hides something is shown for what it is to people, and as it is to programs")
    func hiddenCharacters() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("why-hidden", password: "secret")
        let tls = try broker.tlsContext(try broker.pki.device("why-hidden"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        let (name, user) = ("room\u{202E}nimda", "zero\u{200B}width\u{2028}line")
        #expect(try client.connect(clientIdentifier: name, userName: user, password: "secret").returnCode == 0)
        let why = try self.martlet(broker, "why", "why-hidden").output
        #expect(why.contains(#"room\u{202e}nimda"#) && why.contains(#"zero\u{200b}width\u{2028}line"#), "\(why)")
        #expect(!why.unicodeScalars.contains { [0x202E, 0x200B, 0x2028].contains($0.value) })
        let json = try self.martlet(broker, "why", "why-hidden", "--json").output
        #expect(json.contains(#""client_id":"\#(name)""#) && json.contains(#""user_name":"\#(user)""#), "\(json)")
        let nobody = try self.martlet(broker, "why", "\u{202E}x").output
        #expect(nobody.contains(#"nothing is known of \u{202e}x"#))
    }

    @Test("why tells of a handshake that failed")
    func failedHandshakes() throws {
        let broker = try TestBroker()
        let device = try broker.pki.device("why-foreign", authority: "other")
        _ = try runProcess("mosquitto_pub", arguments: broker.mosquittoOptions(device) + ["-t", "t", "-m", "m"])
        try broker.listeners[0].waitForLog("tls-unknown-certificate-authority")
        let output = try self.martlet(broker, "why", "why-foreign").output
        #expect(output.contains("tls-unknown-certificate-authority"), "\(output)")
        #expect(output.contains("signed by an authority that is not in client_ca_file"), "\(output)")
        #expect(try self.martlet(broker, "why", "why-for").output.contains("nothing is known"))
    }

    @Test("auth test --no-cache asks Redis although the cached row is fresh, and spoils nothing when Redis is away")
    func authTestWithoutCache() throws {
        let broker = try TestBroker(authentication: "cache: {positive_ttl: 1h}")
        let certificate = try broker.pki.device("no-cache").certificateFile
        try broker.provision("no-cache", password: "old")
        func test(_ password: String, _ more: String...) throws -> Int32 {
            let arguments = ["auth", "test", "--cert", certificate, "--password", password] + more
            return try runProcess(
                TestBroker.executable("martlet"),
                arguments: arguments + ["--config", broker.directory.file("martlet.yaml")]
            ).status
        }
        #expect(try test("old") == 0)
        func calls() throws -> Int {
            let statistics = try broker.redisCommand("INFO", "commandstats")
            let line = statistics.split(separator: "\r\n").first { $0.hasPrefix("cmdstat_hmget:calls=") } ?? ""
            return Int(line.dropFirst("cmdstat_hmget:calls=".count).prefix { $0.isNumber }) ?? 0
        }
        let before = try calls()
        #expect(try test("old") == 0)
        #expect(try calls() == before)
        #expect(try test("old", "--no-cache") == 0)
        #expect(try calls() == before + 1)
        broker.stopRedis()
        #expect(try test("old", "--no-cache") == 2)
        #expect(try test("old") == 0)
    }

    /// It gave up after five seconds, while devices were let in.
    @Test("Regression: auth test asks the next auth worker when one hangs, and names the one that does")
    func authTestPastHungWorker() throws {
        let broker = try TestBroker(authWorkers: 2)
        try broker.provision("test-hung", password: "right")
        let certificate = try broker.pki.device("test-hung").certificateFile
        func test(_ more: String...) throws -> (status: Int32, output: String) {
            let arguments = ["auth", "test", "--cert", certificate, "--password", "right"] + more
            let file = broker.directory.file("martlet.yaml")
            return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
        }
        let silent = "authworker-1, \(broker.directory.file("run"))/authworker-1.sock: does not answer within 2000 ms"
        broker.authWorkers[0].signal(SIGSTOP)
        for result in [try test(), try test("--no-cache")] {
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains(silent) && result.output.contains("allow all devices/test-hung/#"))
        }
        broker.authWorkers[1].killNow()
        let none = try test()
        #expect(none.status == 3 && none.output.contains("no auth worker can be asked: \(silent)"), "\(none.output)")
        #expect(none.output.contains("authworker-2: not running"), "\(none.output)")
        broker.authWorkers[0].signal(SIGCONT)
        #expect(try test().status == 0)
    }

    @Test("auth test tells what would happen now, by its exit status too")
    func authTest() throws {
        let broker = try TestBroker()
        try broker.provision("test-known", password: "right")
        let known = try broker.pki.device("test-known").certificateFile
        let allowed = try self.martlet(broker, "auth", "test", "--cert", known, "--password", "right")
        #expect(allowed.status == 0, "\(allowed.output)")
        #expect(allowed.output.contains("allow all devices/test-known/#"), "\(allowed.output)")
        let wrong = try self.martlet(broker, "auth", "test", "--cert", known, "--password", "wrong")
        #expect(wrong.status == 1 && wrong.output.contains("wrong-password"), "\(wrong.output)")
        // Nothing that the device could send would do.
        try broker.provision("test-empty", password: "")
        let empty = try broker.pki.device("test-empty").certificateFile
        let unusable = try self.martlet(broker, "auth", "test", "--cert", empty, "--password", "")
        for text in [
            "row-unusable", "the row has no password, or an empty one", "no password fits what tls_domain:test-empty",
        ] {
            #expect(unusable.status == 1 && unusable.output.contains(text), "\(text) is missing in \(unusable.output)")
        }
        let stranger = try broker.pki.device("test-stranger").certificateFile
        let unknownDevice = try self.martlet(broker, "auth", "test", "--cert", stranger, "--password", "x")
        #expect(unknownDevice.status == 1 && unknownDevice.output.contains("HSET tls_domain:test-stranger"))
        let foreign = try broker.pki.device("test-foreign", authority: "other").certificateFile
        let refused = try self.martlet(broker, "auth", "test", "--cert", foreign, "--password", "x")
        #expect(refused.status == 1 && refused.output.contains("refused in the TLS handshake"), "\(refused.output)")
        #expect(try self.martlet(broker, "auth", "test").output.contains("the listener requires one"))
        broker.stopRedis()
        try broker.authWorkers[0].waitForLog("Redis lost")
        let other = try broker.pki.device("test-other").certificateFile
        #expect(try self.martlet(broker, "auth", "test", "--cert", other, "--password", "x").status == 2)
        #expect(try self.martlet(broker, "auth", "test", "--cert", "/nowhere").status == 3)
    }

    @Test("cache show counts and shows a row, cache drop has it fetched again also while Redis is away")
    func cache() throws {
        let broker = try TestBroker(authWorkers: 2)
        let loop = try EventLoop()
        for device in ["cached-a", "cached-b"] {
            try broker.provision(device, password: "secret")
            #expect(try self.connect(broker, loop, device, "secret") == 0)
        }
        let row = try self.martlet(broker, "cache", "show", "cached-a")
        #expect(row.status == 0 && row.output.contains("tls_domain:cached-a"), "\(row.output)")
        try waitUntil("both rows are on disk") {
            try self.martlet(broker, "cache", "show", "--json").output.contains(#""rows_on_disk":2,"#)
        }
        broker.stopRedis()
        #expect(try self.connect(broker, loop, "cached-a", "secret") == 0)
        #expect(try self.martlet(broker, "cache", "drop", "cached-a").status == 0)
        #expect(try self.connect(broker, loop, "cached-a", "secret") == 0x88)
        #expect(try self.connect(broker, loop, "cached-b", "secret") == 0)
        #expect(try self.martlet(broker, "cache", "drop", "--all").status == 0)
        #expect(try self.connect(broker, loop, "cached-b", "secret") == 0x88)
        try broker.startRedis()
        try broker.provision("cached-a", password: "secret")
        try waitUntil("the device gets in again") { try self.connect(broker, loop, "cached-a", "secret") == 0 }
        #expect(try self.martlet(broker, "cache", "drop").status != 0)
    }

    /// It said ": not used before it was fetched", or that of a key that nobody has, and exited with 0.
    @Test("Regression: dropping what is not cached is said, and no success")
    func dropUnknown() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("cached-once", password: "secret")
        #expect(try self.connect(broker, loop, "cached-once", "secret") == 0)
        let one = try self.martlet(broker, "cache", "drop", "cached-once")
        #expect(one.status == 0, "\(one.output)")
        let none = try self.martlet(broker, "cache", "drop", "no-such-name")
        #expect(none.status == 1, "\(none.output)")
        #expect(none.output.contains("nothing is cached of no-such-name: name it by"), "\(none.output)")
    }

    /// The first worker left its mark of the key in the file that both have, and the second one called that a row.
    @Test("Regression: what no worker has a row of is not dropped by the second one either")
    func dropUnknownOfTwo() throws {
        let broker = try TestBroker(authWorkers: 2)
        let loop = try EventLoop()
        try broker.provision("cached-once", password: "secret")
        #expect(try self.connect(broker, loop, "cached-once", "secret") == 0)
        for _ in 0..<3 {
            let none = try self.martlet(broker, "cache", "drop", "nobody")
            #expect(none.status == 1, "\(none.output)")
            #expect(none.output.hasPrefix("martlet: nothing is cached of nobody"), "\(none.output)")
        }
        let one = try self.martlet(broker, "cache", "drop", "cached-once")
        #expect(one.status == 0, "\(one.output)")
        #expect(one.output == "tls_domain:cached-once: not used before it was fetched from Redis again\n")
        let all = try self.martlet(broker, "cache", "drop", "--all")
        #expect(all.status == 0 && all.output == "no row is used before it was fetched from Redis again\n")
        // Of whom one worker alone can be asked.
        broker.authWorkers[0].killNow()
        let half = try self.martlet(broker, "cache", "drop", "nobody")
        #expect(half.status == 1 && half.output.contains("martlet: authworker-1: not running"), "\(half.output)")
        #expect(half.output.contains("nothing is cached of nobody"), "\(half.output)")
    }

    /// They said `connect to …: No such file or directory`, and auth test asked the first worker alone.
    @Test("Regression: a role that does not run is named, with its unit, and so is a missing runtime directory")
    func notRunning() throws {
        let broker = try TestBroker(authWorkers: 2)
        try broker.provision("test-second", password: "secret")
        let certificate = try broker.pki.device("test-second").certificateFile
        let test = ["auth", "test", "--cert", certificate, "--password", "secret"]
        let file = broker.directory.file("martlet.yaml")
        func martlet(_ words: [String]) throws -> (status: Int32, output: String) {
            try runProcess(TestBroker.executable("martlet"), arguments: words + ["--config", file])
        }
        broker.authWorkers[0].killNow()
        let other = try martlet(test)
        #expect(other.status == 0, "\(other.output)")
        broker.authWorkers[1].killNow()
        for (words, status) in [(test, 3), (["cache", "show"], 1), (["auth", "confirm-mass-revoke"], 1)] {
            let result = try martlet(words)
            #expect(result.status == status, "\(result.output)")
            for text in [
                "authworker-1: not running (nobody answers at \(broker.directory.path)/", "martlet-authworker@1",
            ] {
                #expect(result.output.contains(text), "\(result.output)")
            }
        }
        let moved = broker.directory.file("moved")
        #expect(rename(broker.directory.file("run"), moved) == 0)
        defer { rename(moved, broker.directory.file("run")) }
        for (words, status) in [(test, 3), (["cache", "drop", "x"], 1), (["why", "x"], 1)] {
            let result = try martlet(words)
            #expect(result.status == status, "\(result.output)")
            #expect(result.output.contains("run (runtime_directory): no role of this"), "\(result.output)")
        }
    }

    /// They were texts.
    @Test("Regression: what is counted or measured is a number in JSON")
    func numbers() throws {
        let broker = try TestBroker()
        try broker.provision("test-numbers", password: "secret")
        let certificate = try broker.pki.device("test-numbers").certificateFile
        let test = try self.martlet(broker, "auth", "test", "--cert", certificate, "--password", "secret", "--json")
        #expect(test.output.contains(/"took_us":[0-9]+[,}]/), "\(test.output)")
        #expect(try self.martlet(broker, "ban", "add", "cn", "4711").status == 0)
        let bans = try self.martlet(broker, "ban", "list", "--json").output
        #expect(bans == #"[{"kind":"cn","value":"4711","in_force":true}]"# + "\n")
    }

    /// Only of Redis is anything cached, or lost.
    @Test("Regression: what is about Redis says that there is none, with the source that there is")
    func withoutRedis() throws {
        let folder = try TemporaryDirectory("martlet-no-redis")
        let file = folder.file("martlet.yaml")
        for source in ["none", "embedded", "certificate"] {
            try writeFile(
                file,
                Array(
                    """
                    runtime_directory: run
                    listeners:
                      - {name: plain, transport: tcp, anonymous: true, addresses: ["127.0.0.1:0"]}
                    authentication: {source: \(source)}
                    authorization: {rules: {default: []}}

                    """.utf8
                )
            )
            for words in [["auth", "confirm-mass-revoke"], ["cache", "show"], ["cache", "drop", "x"]] {
                let martlet = try TestBroker.executable("martlet")
                let result = try runProcess(martlet, arguments: words + ["--config", file])
                #expect(result.status == 1 && result.output.contains("its source is \(source)"), "\(result.output)")
            }
        }
    }

    /// It said `missing(Common.Placeholder.userName)`.
    @Test("Regression: what a look-up lacks is told in words")
    func lacking() throws {
        let broker = try TestBroker { text in
            text.replacing("HMGET tls_domain:%C password", with: "HMGET tls_domain:%u password")
        }
        let loop = try EventLoop()
        let tls = try broker.tlsContext(try broker.pki.device("why-lacking"))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        #expect(try client.connect(clientIdentifier: "", userName: nil, password: "x").returnCode == 0x87)
        let why = try self.martlet(broker, "why", "why-lacking").output
        #expect(why.contains("cannot be filled in: the CONNECT has no user name for ${username}"), "\(why)")
        #expect(!why.contains("fieldMissing") && !why.contains("Common."), "\(why)")
    }

    /// Help says that Redis keys may be named, and it looked for tls_domain:acl:acl-key.
    @Test("Regression: cache show and drop know the keys that a row was made from, in memory and on disk")
    func relatedKeys() throws {
        let broker = try TestBroker(authentication: "acl_command: HGETALL acl:%C")
        let loop = try EventLoop()
        let strange = try self.martlet(broker, "cache", "show", "acl:nobody").output
        #expect(strange.contains("acl:nobody") && !strange.contains("tls_domain"), "\(strange)")
        try broker.provision("acl-key", password: "secret")
        #expect(try self.connect(broker, loop, "acl-key", "secret") == 0)
        for restarts in [false, true] {
            if restarts {
                try waitUntil("the row is on disk") {
                    try self.martlet(broker, "cache", "show", "--json").output.contains(#""rows_on_disk":1,"#)
                }
                try broker.restartAuthWorker()
            }
            let shown = try self.martlet(broker, "cache", "show", "acl:acl-key")
            #expect(shown.output.contains("tls_domain:acl-key"), "\(shown.output)")
            #expect(!shown.output.contains("tls_domain:acl:acl-key"), "\(shown.output)")
        }
        let dropped = try self.martlet(broker, "cache", "drop", "acl:acl-key")
        #expect(dropped.status == 0 && dropped.output.hasPrefix("tls_domain:acl-key: not used"), "\(dropped.output)")
    }

    @Test("access rows that change while their device is on disk only are asked for again")
    func accessRowsOnDisk() throws {
        let broker = try TestBroker(authentication: "acl_command: HGETALL acl:%C")
        let loop = try EventLoop()
        try broker.provision("acl-disk", password: "secret")
        _ = try broker.redisCommand("HSET", "acl:acl-disk", "a/#", "all")
        #expect(try self.connect(broker, loop, "acl-disk", "secret") == 0)
        try waitUntil("the row is on disk") {
            try self.martlet(broker, "cache", "show", "--json").output.contains(#""rows_on_disk":1,"#)
        }
        // Of a live session it would be asked, and have the row in memory.
        try waitUntil("the device is gone") { try broker.status(of: "listener").contains("sessions 0") }
        // A worker that knows it from the file only is told of the change.
        try broker.restartAuthWorker()
        try broker.authWorkers[0].waitForLog("changes of rows are told by Redis")
        _ = try broker.redisCommand("HSET", "acl:acl-disk", "b/#", "all")
        try waitUntil("the file knows of the change") {
            let shown = try self.martlet(broker, "cache", "show", "acl-disk").output
            return shown.contains("generation 1, named as changed") && shown.contains("in_memory     nothing")
        }
        broker.stopRedis()
        #expect(try self.connect(broker, loop, "acl-disk", "secret") == 0x88)
    }
}
