import Common
import Glibc
import SQLite
import TestSupport
import Testing

/// `martlet cache export` and `import` between two hosts.
@Suite struct CacheTransferTests {
    private func martlet(_ broker: TestBroker, _ arguments: String...) throws -> (status: Int32, output: String) {
        let file = broker.directory.file("martlet.yaml")
        return try runProcess(TestBroker.executable("martlet"), arguments: arguments + ["--config", file])
    }

    private func connect(_ broker: TestBroker, _ loop: EventLoop, _ device: String, _ password: String) throws -> UInt8
    {
        let tls = try broker.tlsContext(try broker.pki.device(device))
        let client = try TestClient(loop: loop, port: broker.tlsPort, version: .v5_0, tls: tls)
        return try client.connect(clientIdentifier: "", userName: nil, password: password).returnCode
    }

    /// Rows are written by a thread, after the answer.
    private func waitForRows(_ count: Int, _ broker: TestBroker) throws {
        let deadline = Clock.monotonic() + 30 * Nanoseconds.perSecond
        while true {
            let shown = try self.martlet(broker, "cache", "show", "--json").output
            if shown.contains("\"rows_on_disk\":\(count),"), shown.contains("\"rows_named_as_changed\":0") {
                return
            }
            guard Clock.monotonic() < deadline else { throw ProcessError(description: "not \(count) rows: \(shown)") }
            usleep(20_000)
        }
    }

    @Test("Devices of one host connect at another one whose Redis is away, once it has the rows")
    func anotherHost() throws {
        let loop = try EventLoop()
        let first = try TestBroker()
        for device in ["carried-1", "carried-2"] {
            try first.provision(device, password: "pw")
            #expect(try self.connect(first, loop, device, "pw") == 0)
        }
        try self.waitForRows(2, first)
        let file = first.directory.file("rows")
        let exported = try self.martlet(first, "cache", "export", file)
        #expect(exported.status == 0 && exported.output.hasPrefix("2 rows"), "\(exported.output)")
        var status = stat()
        #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(try self.martlet(first, "cache", "export", file).status == 1, "a file that is there is not overwritten")
        let again = try self.martlet(first, "cache", "import", file).output
        #expect(again == "0 of 2 rows taken\n2 left as they are here: known from a later moment, or named as changed\n")
        let nameless = try self.martlet(first, "cache", "import", file, "--source", "nope")
        #expect(nameless.status == 1 && nameless.output.contains("leave --source out"), "\(nameless.output)")

        let second = try TestBroker()
        second.stopRedis()
        #expect(try self.connect(second, loop, "carried-1", "pw") == 0x88)
        let refused = try self.martlet(second, "cache", "import", file)
        #expect(refused.status == 1 && refused.output.contains("another key"), "\(refused.output)")
        let imported = try self.martlet(second, "cache", "import", file, "--replace-key")
        #expect(imported.status == 0 && imported.output.hasPrefix("2 of 2 rows taken"), "\(imported.output)")
        #expect(imported.output.contains("restart its auth workers"), "\(imported.output)")
        // Those that run know nothing of it, and nothing that they write stands in the way.
        #expect(try self.connect(second, loop, "carried-1", "pw") == 0x88)
        try second.restartAuthWorker()
        for device in ["carried-1", "carried-2"] {
            #expect(try self.connect(second, loop, device, "pw") == 0)
            #expect(try self.connect(second, loop, device, "guess") != 0)
        }
        #expect(try self.connect(second, loop, "carried-3", "pw") == 0x88)
    }

    @Test("Rows of a key that the host had before are not exported, and not counted as such")
    func rowsOfAnEarlierKey() throws {
        let loop = try EventLoop()
        let (first, second) = (try TestBroker(), try TestBroker())
        for (broker, devices) in [(first, ["carried-1"]), (second, ["own-1", "own-2"])] {
            for device in devices {
                try broker.provision(device, password: "pw")
                #expect(try self.connect(broker, loop, device, "pw") == 0)
            }
            try self.waitForRows(devices.count, broker)
        }
        let file = first.directory.file("rows")
        #expect(
            try self.martlet(first, "cache", "export", file).output
                == "1 rows written to \(file), with the key of this host: keep the file secret\n"
        )
        #expect(try self.martlet(second, "cache", "import", file, "--replace-key").status == 0)
        let onward = second.directory.file("rows")
        let exported = try self.martlet(second, "cache", "export", onward)
        #expect(exported.status == 0 && exported.output.hasPrefix("1 rows written to \(onward)"), "\(exported.output)")
        #expect(exported.output.contains("2 rows left out"), "\(exported.output)")
        #expect(try self.martlet(first, "cache", "import", onward).output.contains("of 1 rows taken"))
    }

    /// They were root's, and auth workers could not open them.
    @Test("What root imports belongs to whom the folder above belongs to", .enabled(if: geteuid() == 0, "sets owners"))
    func importedByRoot() throws {
        let loop = try EventLoop()
        let broker = try TestBroker()
        try broker.provision("carried", password: "pw")
        #expect(try self.connect(broker, loop, "carried", "pw") == 0)
        try self.waitForRows(1, broker)
        let file = broker.directory.file("rows")
        #expect(try self.martlet(broker, "cache", "export", file).status == 0)
        let (nobody, parent) = (uid_t(65534), broker.directory.file("theirs"))
        mkdir(parent, 0o755)
        #expect(chown(parent, nobody, nobody) == 0)
        let folder = parent + "/deep/auth-cache"
        let imported = try self.martlet(
            broker,
            "cache",
            "import",
            file,
            "--set",
            "authentication.cache.directory=\(folder)"
        )
        #expect(imported.status == 0 && imported.output.hasPrefix("1 of 1 rows taken"), "\(imported.output)")
        for name in ["/deep", "/deep/auth-cache"]
            + ["host.key", "current", "lock", "cache-000001.db"].map({ "/deep/auth-cache/\($0)" })
        {
            var status = stat()
            #expect(stat(parent + name, &status) == 0 && status.st_uid == nobody, "\(name)")
        }
    }

    @Test("A fresh row of another host is not believed while Redis can be asked")
    func confirmedFirst() throws {
        let loop = try EventLoop()
        let first = try TestBroker()
        try first.provision("carried-old", password: "old")
        #expect(try self.connect(first, loop, "carried-old", "old") == 0)
        try self.waitForRows(1, first)
        let file = first.directory.file("rows")
        #expect(try self.martlet(first, "cache", "export", file).status == 0)
        let second = try TestBroker()
        #expect(try self.martlet(second, "cache", "import", file, "--replace-key").status == 0)
        try second.restartAuthWorker()
        // Its Redis does not know the device.
        #expect(try self.connect(second, loop, "carried-old", "old") == 0x87)
    }

    /// Rows and a key that nobody had made were taken without a word.
    @Test("Regression: a file that is not as it was made is refused; one of an earlier release is taken with a warning")
    func damagedFiles() throws {
        let loop = try EventLoop()
        let first = try TestBroker()
        try first.provision("carried-damaged", password: "pw")
        #expect(try self.connect(first, loop, "carried-damaged", "pw") == 0)
        try self.waitForRows(1, first)
        let file = first.directory.file("rows")
        #expect(try self.martlet(first, "cache", "export", file).status == 0)
        let exported = try readFile(file)
        let second = try TestBroker()
        let keyPath = second.directory.file("state") + "/auth-cache/host.key"
        let keyBefore = try readFile(keyPath)
        for change in [
            "UPDATE host_key SET key = zeroblob(32)", "UPDATE rows SET secret = zeroblob(32)",
            "UPDATE rows SET superuser = 1", "DELETE FROM rows",
            "UPDATE rows SET known_current = known_current + 1", "UPDATE digest SET value = x''", "DELETE FROM digest",
        ] {
            let damaged = second.directory.file("damaged")
            try writeFile(damaged, exported)
            try Database(path: damaged, busyTimeoutMilliseconds: 1000).execute(change)
            let result = try self.martlet(second, "cache", "import", damaged, "--replace-key")
            let isRefused = result.status == 1 && result.output.contains("its digest is not that")
            #expect(isRefused, "\(change): \(result.output)")
        }
        #expect(try readFile(keyPath) == keyBefore)
        let earlier = second.directory.file("earlier")
        try writeFile(earlier, exported)
        try Database(path: earlier, busyTimeoutMilliseconds: 1000).execute("DROP TABLE digest")
        let taken = try self.martlet(second, "cache", "import", earlier, "--replace-key")
        #expect(taken.status == 0 && taken.output.contains("1 of 1 rows taken"), "\(taken.output)")
        #expect(taken.output.contains("without a digest"), "\(taken.output)")
    }

    /// `0 of 2 rows taken`, as if they were known here from a later moment: nothing was found by the index.
    @Test(
        "Regression: a file whose tables or indexes are described otherwise than they were made is refused",
        arguments: [
            ("ON rows (source, known_current)", "ON rows (source< known_current)"),
            ("WHERE absent_since IS NULL", "WHERE absent_since IS 7ULL"),
            ("known_current INTEGER", "known_current INTEGES"), ("CREATE TABLE digest", "CREATE TABLE digesu"),
        ]
    )
    func damagedDescriptions(made: String, damaged: String) throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        try broker.provision("carried-damaged", password: "pw")
        #expect(try self.connect(broker, loop, "carried-damaged", "pw") == 0)
        try self.waitForRows(1, broker)
        let file = broker.directory.file("rows")
        #expect(try self.martlet(broker, "cache", "export", file).status == 0)
        let exported = try readFile(file)
        // Former texts of a table stay behind in the file as well.
        let places = exported.indices.filter { exported[$0...].starts(with: Array(made.utf8)) }
        #expect(!places.isEmpty)
        var bytes = exported
        for place in places { bytes.replaceSubrange(place..<place + made.utf8.count, with: Array(damaged.utf8)) }
        try writeFile(file, bytes)
        let empty = "authentication.cache.directory=\(broker.directory.file("another"))"
        let result = try self.martlet(broker, "cache", "import", file, "--set", empty)
        #expect(result.status == 1 && result.output.contains(file), "\(result.output)")
        try writeFile(file, exported)
        let taken = try self.martlet(broker, "cache", "import", file, "--set", empty)
        #expect(taken.status == 0 && taken.output.hasPrefix("1 of 1 rows taken"), "\(taken.output)")
    }

    @Test("What is no exported cache is refused with the reason", arguments: ["", "garbage", "store"])
    func otherFiles(content: String) throws {
        let broker = try TestBroker()
        let file =
            content == "store" ? "\(broker.directory.file("state"))/router/store.db" : broker.directory.file("other")
        if content != "store" { try writeFile(file, Array(String(repeating: content, count: 1000).utf8)) }
        let result = try self.martlet(broker, "cache", "import", file)
        #expect(result.status == 1 && result.output.contains(file), "\(result.output)")
    }
}
