import Common
import Glibc
import TestSupport
import Testing

/// `martlet bench` against a real broker: what it counts must be so.
@Suite struct BenchCommandTests {
    private func bench(_ arguments: [String]) throws -> (status: Int32, output: String) {
        try runProcess(TestBroker.executable("martlet"), arguments: ["bench"] + arguments + ["--json", "--quiet"])
    }

    private func figure(_ name: String, in output: String) -> Double {
        guard let part = output.components(after: "\"\(name)\":") else { return -1 }
        return Double(part.prefix { $0.isNumber || $0 == "." || $0 == "-" }) ?? -1
    }

    @Test(
        "Every scenario runs, in both versions, and finds nothing wrong with this broker",
        arguments: [
            (["fanout", "--subscribers", "5"], "delivered_per_s"),
            (["fanout", "--subscribers", "3", "-q", "1", "--mqtt", "3.1.1"], "delivered_per_s"),
            (["fanin", "--publishers", "5", "--subscribers", "2", "-q", "1"], "delivered_per_s"),
            (["pairs", "-n", "5", "-q", "2"], "delivered_per_s"),
            (["pairs", "-n", "5", "-q", "1", "--persistent", "--bytes", "100000"], "delivered_per_s"),
            (["pairs", "-n", "4", "-q", "0", "--rate", "200"], "latency_p99_us"),
            (["connect", "-n", "50"], "connections_per_s"),
            (["connect", "-n", "20", "--churn"], "connections_per_s"),
            (["storm", "-n", "50"], "back_100pct_s"),
            (["retained", "--count", "3000", "--subscribers", "2"], "delivered_per_s"),
            (["offline", "-n", "10", "--count", "50"], "drained_per_s"),
        ]
    )
    func scenarios(arguments: [String], figure: String) throws {
        let broker = try TestBroker()
        // Scripts give these to all scenarios alike.
        let more = ["--port", "\(broker.plainPort)", "--seconds", "0.5", "--warm-up", "0.1"]
        let processes = "\(broker.router.processID),\(broker.listeners[0].processID)"
        let (status, output) = try self.bench(arguments + more + ["--pid", processes])
        #expect(status == 0 && output.contains("\"ok\":true"), "\(output)")
        #expect(self.figure(figure, in: output) > 0, "\(output)")
        // Everything is as it was.
        #expect(try broker.status(of: "router").contains("retained_messages 0"))
        if arguments[0] == "offline" { #expect(try broker.status(of: "router").contains("queued_messages 0")) }
    }

    /// A connection that was resumed by credit, and whose kept input alone filled the link, was never read again.
    @Test("Large messages of several publishers at once all arrive", arguments: ["0", "1", "2"])
    func largeMessages(qos: String) throws {
        let broker = try TestBroker()
        let arguments = [
            "pairs", "-n", "6", "-q", qos, "--bytes", "120000", "--seconds", "1", "--port", "\(broker.plainPort)",
        ]
        let (status, output) = try self.bench(arguments)
        #expect(status == 0, "\(output)")
    }

    @Test("Regression: lasting sessions are ended with the run", arguments: ["5", "3.1.1"])
    func lastingSessions(version: String) throws {
        let broker = try TestBroker()
        let arguments = ["pairs", "-n", "3", "--persistent", "--mqtt", version, "--seconds", "0.1"]
        let (status, output) = try self.bench(arguments + ["--port", "\(broker.plainPort)"])
        #expect(status == 0, "\(output)")
        try waitUntil("no session is left") { try broker.figure("sessions", of: "router") == 0 }
    }

    @Test("A rate is kept, and all that is published arrives")
    func rate() throws {
        let broker = try TestBroker()
        let arguments = [
            "pairs", "-n", "4", "-q", "1", "--rate", "400", "--seconds", "2", "--port", "\(broker.plainPort)",
        ]
        let (status, output) = try self.bench(arguments)
        #expect(status == 0, "\(output)")
        #expect((380...420).contains(self.figure("published_per_s", in: output)), "\(output)")
    }

    @Test("With a certificate for each client and resumed sessions, full handshakes are left out")
    func resumption() throws {
        let broker = try TestBroker()
        let folder = try TemporaryDirectory("martlet-bench")
        var key = ""
        for number in 0..<3 {
            // One key is enough for all: the first device's.
            let device = try broker.pki.device("bench-\(number)")
            try broker.provision("bench-\(number)", password: "pw")
            if number == 0 { key = device.keyFile }
            let request = folder.file("\(number).csr")
            _ = try runProcess(
                "openssl",
                arguments: ["req", "-new", "-key", key, "-subj", "/CN=bench-\(number)", "-out", request]
            )
            let (ca, caKey) = (broker.pki.caFile, String(broker.pki.caFile.dropLast(4)) + ".key")
            let signing = [
                "x509", "-req", "-in", request, "-CA", ca, "-CAkey", caKey, "-set_serial", "\(900 + number)",
            ]
            _ = try runProcess("openssl", arguments: signing + ["-days", "2", "-out", folder.file("\(number).crt")])
        }
        let target = [
            "-n", "6", "--resume", "--seconds", "1", "--host", "localhost", "--port", "\(broker.tlsPort)",
            "--ca", broker.pki.caFile, "--cert-pattern", folder.file("%d.crt"), "--cert-count", "3", "--key", key,
            "--password", "pw",
        ]
        let (status, output) = try self.bench(["connect", "--churn"] + target)
        #expect(status == 0, "\(output)")
        let resumed = self.figure("resumed", in: output)
        #expect(resumed > 0, "\(output)")
        #expect(try broker.figure("handshakes_resumed_total", of: "listener").map { Double($0) } == resumed)
        // OpenSSL gave up the sessions of connections that were cut, and a storm resumed none.
        let storm = try self.bench(["storm"] + target)
        #expect(storm.status == 0 && self.figure("resumed", in: storm.output) == 6, "\(storm.output)")
    }

    /// They waited for two minutes for what could not come, or spoke of loss.
    @Test(
        "Regression: rules that deny end a run at once, and are named",
        arguments: [
            (
                ["retained", "--count", "20", "--subscribers", "2"],
                "a message was refused with 0x87: the broker's rules"
            ),
            (
                ["retained", "--count", "20", "--subscribers", "2", "--mqtt", "3.1.1"],
                "2 of 2 subscriptions were refused, SUBACK 0x80"
            ),
            (["offline", "-n", "3", "--count", "5"], "3 of 3 subscriptions were refused, SUBACK 0x87"),
            (
                ["offline", "-n", "3", "--count", "5", "--mqtt", "3.1.1"],
                "3 of 3 subscriptions were refused, SUBACK 0x80"
            ),
        ]
    )
    func denied(arguments: [String], text: String) throws {
        let broker = try TestBroker { $0.replacing(##"topics: ["#", "$SYS/#"]"##, with: #"topics: ["other/#"]"#) }
        let began = Clock.monotonic()
        let (status, output) = try self.bench(arguments + ["--port", "\(broker.plainPort)"])
        #expect(status == 2 && output.contains(text), "\(output)")
        #expect(Clock.monotonic() - began < 60 * Nanoseconds.perSecond)
    }

    /// They said "lost", after a while, and exited with 1.
    @Test(
        "Regression: where the broker says that its rules deny everything, there is nothing to measure",
        arguments: [
            (["pairs", "-n", "3"], "all", "3 of 3 subscriptions were refused, SUBACK 0x87: the broker's rules"),
            (
                ["fanin", "--subscribers", "2", "--mqtt", "3.1.1"], "all",
                "2 of 2 subscriptions were refused, SUBACK 0x80"
            ),
            (["fanout", "--subscribers", "2", "-q", "1"], "all", "2 of 2 subscriptions were refused, SUBACK 0x87"),
            (["pairs", "-n", "3", "-q", "1"], "publish", "a message was refused with 0x87: the broker's rules"),
            (["fanin", "--publishers", "3", "-q", "2"], "publish", "a message was refused with 0x87"),
            (["fanout", "--publishers", "3", "-q", "1", "--rate", "3"], "publish", "a message was refused with 0x87"),
        ]
    )
    func deniedTraffic(arguments: [String], denied: String, text: String) throws {
        let allowed =
            denied == "all" ? ##"{allow: all, topics: ["other/#"]}"## : ##"{allow: subscribe, topics: ["#"]}"##
        let broker = try TestBroker { $0.replacing(##"{allow: all, topics: ["#", "$SYS/#"]}"##, with: allowed) }
        let more = ["--seconds", "2", "--warm-up", "0.1", "--port", "\(broker.plainPort)"]
        let (status, output) = try self.bench(arguments + more)
        #expect(status == 2 && output.contains(text), "\(output)")
    }

    @Test("What rules leave to some of the clients is measured, and what they deny is told")
    func partlyDenied() throws {
        let broker = try TestBroker {
            $0.replacing(##"topics: ["#", "$SYS/#"]"##, with: ##"topics: ["martlet-bench/+/0/value"]"##)
        }
        let more = ["--seconds", "0.3", "--warm-up", "0.1", "--port", "\(broker.plainPort)"]
        let (status, output) = try self.bench(["pairs", "-n", "2", "-q", "1"] + more)
        #expect(status == 1 && output.contains("1 subscriptions were refused, SUBACK 0x87"), "\(output)")
        #expect(output.contains("messages were refused with 0x87"), "\(output)")
        #expect(self.figure("delivered_per_s", in: output) > 0, "\(output)")
    }

    /// They waited for ten minutes, and once more as long to remove what was not there.
    @Test(
        "Regression: a publisher whose connection the broker ends is not waited for",
        arguments: [
            (
                ["retained", "--count", "50"], "retain_available: false",
                "1 connections ended: DISCONNECT 0x9a; 0 of 50"
            ),
            (["retained", "--count", "50"], "max_qos: 0", "1 connections ended: DISCONNECT 0x9b; 0 of 50"),
            (["offline", "-n", "3", "--count", "10"], "max_qos: 0", "1 connections ended: DISCONNECT 0x9b; 0 of 30"),
        ]
    )
    func publisherCut(arguments: [String], setting: String, text: String) throws {
        let broker = try TestBroker { $0.replacing("transport: tcp\n", with: "transport: tcp\n    \(setting)\n") }
        let began = Clock.monotonic()
        let (status, output) = try self.bench(arguments + ["--port", "\(broker.plainPort)"])
        #expect(status == 2 && output.contains(text), "\(output)")
        #expect(Clock.monotonic() - began < 200 * Nanoseconds.perSecond)
    }

    @Test(
        "Regression: connections that break in the middle end a run, with what there is",
        arguments: [
            (["retained", "--count", "50000"], Int32(2), "1 connections ended: closed by the broker; "),
            (["offline", "-n", "2", "--count", "25000"], 2, "1 connections ended: closed by the broker; "),
            (["retained", "--count", "2000", "--subscribers", "2"], 1, "2 connections ended: closed by the broker"),
            (["offline", "-n", "1", "--count", "2000"], 1, "1 connections ended: closed by the broker"),
        ]
    )
    func cutInTheMiddle(arguments: [String], wanted: Int32, text: String) throws {
        let broker = try TestBroker()
        let proxy = try FaultyProxy(target: broker.plainPort)
        defer { proxy.stop() }
        // Enough for some thousands of acknowledgements, and not for as many messages.
        proxy.fault = .resetAfter(40_000)
        let began = Clock.monotonic()
        let (status, output) = try self.bench(arguments + ["--port", "\(proxy.port)"])
        #expect(status == wanted && output.contains(text), "\(output)")
        #expect(Clock.monotonic() - began < 200 * Nanoseconds.perSecond)
    }

    @Test(
        "Regression: messages that rules deny without a word are not waited for any longer than others' pauses",
        arguments: [["retained", "--count", "20", "--subscribers", "2"], ["offline", "-n", "3", "--count", "5"]]
    )
    func deniedSilently(arguments: [String]) throws {
        let broker = try TestBroker { text in
            text.replacing(
                ##"{allow: all, topics: ["#", "$SYS/#"]}"##,
                with: ##"{allow: subscribe, topics: ["martlet-bench/#"]}"##
            )
        }
        let began = Clock.monotonic()
        let (status, output) = try self.bench(arguments + ["--mqtt", "3.1.1", "--port", "\(broker.plainPort)"])
        #expect(Clock.monotonic() - began < 90 * Nanoseconds.perSecond)
        #expect(status == 2 && output.contains("messages came within 10 s: the broker's rules must let"), "\(output)")
        #expect(try broker.status(of: "router").contains("queued_messages 0"))
    }

    /// It ran into EMFILE in the middle, and named no limit.
    @Test("Regression: too few file descriptors for all clients are told before the first connection")
    func descriptors() throws {
        let command = "ulimit -n 64; exec \"$0\" bench pairs -n 50 --port 1 --quiet"
        let (status, output) = try runProcess("sh", arguments: ["-c", command, TestBroker.executable("martlet")])
        #expect(status == 2, "\(output)")
        #expect(output.contains("100 connections need 116 file descriptors, and this process may have 64 (ulimit -n)"))
    }

    /// They were taken without a word, and the run was another than it seemed to be.
    @Test(
        "Regression: what means nothing to a scenario, and a process that is not there, are refused",
        arguments: [
            (["fanout", "-n", "5"], "--number means nothing to fanout; it is for connect, pairs, storm, offline."),
            (["connect", "--qos", "1"], "--qos means nothing to connect"),
            (["pairs", "--churn"], "--churn means nothing to pairs"),
            (["storm", "--persistent"], "--persistent means nothing to storm"),
            (["connect", "--churn", "--hold", "1"], "choose one of --churn and --hold"),
            (["connect", "--tls", "--resume"], "Without --churn no client comes back that could resume its session."),
            (["storm", "--resume"], "--resume is for sessions of TLS: add --tls"),
            (["connect", "--churn", "--resume"], "--resume is for sessions of TLS: add --tls"),
            (["offline", "-q", "0"], "With --qos 0 nothing is kept for clients that are away"),
            (["connect", "--pid", "2147483646"], "there is no process 2147483646 on this host"),
            (["connect", "--pid", "1,1"], "--pid: 1 is there twice."),
            (["connect", "--pid", ","], "--pid: there is a number missing beside a comma."),
            (["connect", "--key", "device.key"], "--key is the key of a certificate: add --cert"),
            (["connect", "--tls", "--cert-count", "3"], "--cert-count counts the files of --cert-pattern"),
            (["connect", "--insecure"], "--insecure is for the server's certificate: add --tls"),
            // Integers ran over.
            (["pairs", "--rate", "1e30"], "--rate is more than 0 and at most 10000000."),
            (["pairs", "--rate", "inf"], "--rate is more than 0"),
            (["pairs", "--rate", "nan"], "--rate is more than 0"),
            (["connect", "--hold", "inf"], "--hold is from 0 to 86400."),
            (["connect", "--hold", "1e30"], "--hold is from 0 to 86400."),
            (["pairs", "--warm-up", "1e12"], "--warm-up is from 0 to 86400."),
            (["pairs", "--seconds", "0"], "--seconds is more than 0 and at most 86400."),
            (["retained", "--window", "9223372036854775807"], "--window is from 1 to 1000000."),
            (["offline", "--count", "9223372036854775807"], "--count is from 1 to 100000000."),
            (["offline", "--count", "50000000", "-n", "100"], "--number times --count is at most 4000000000."),
            (["pairs", "-n", "0"], "--number is from 1 to 1000000."),
        ]
    )
    func meaningless(arguments: [String], text: String) throws {
        let (status, output) = try self.bench(arguments + ["--port", "1"])
        #expect(status == 64 && output.contains(text), "\(output)")
    }

    @Test("Time that means nothing to a scenario is said, and no reason not to run")
    func meaninglessTime() throws {
        let broker = try TestBroker()
        let arguments = ["bench", "connect", "-n", "1", "--seconds", "1", "--port", "\(broker.plainPort)"]
        let (status, output) = try runProcess(TestBroker.executable("martlet"), arguments: arguments)
        #expect(status == 0 && output.contains("--seconds means nothing to connect"), "\(output)")
    }

    @Test("Regression: Ctrl-C ends a run with a report")
    func interrupted() throws {
        let broker = try TestBroker()
        let folder = try TemporaryDirectory("martlet-bench")
        let run = try ChildProcess(
            TestBroker.executable("martlet"),
            arguments: [
                "bench", "pairs", "-n", "2", "--rate", "50", "--seconds", "600", "--port", "\(broker.plainPort)",
            ],
            name: "bench",
            logFile: folder.file("log")
        )
        try run.waitForLog("messages delivered")
        run.signal(SIGINT)
        #expect(try run.waitForExit(seconds: 60) == 1)
        let problems = run.log.split(separator: "\n").filter { $0.hasPrefix("WRONG") }
        #expect(problems == ["WRONG  the run was interrupted"] && run.log.contains("delivered_per_s"), "\(run.log)")
    }

    @Test("A broker that refuses messages, or is not there, is not called good")
    func problems() throws {
        let broker = try TestBroker()
        try broker.provision("bench-denied", password: "pw")
        let device = try broker.pki.device("bench-denied")
        let (status, output) = try self.bench([
            "pairs", "-n", "1", "-q", "1", "--seconds", "0.3", "--host", "localhost", "--port", "\(broker.tlsPort)",
            "--ca",
            broker.pki.caFile, "--cert", device.certificateFile, "--key", device.keyFile, "--password", "pw",
        ])
        #expect(status == 2 && output.contains("SUBACK 0x87"), "\(output)")
        broker.listeners[0].killNow()
        let gone = try self.bench(["connect", "-n", "1", "--host", "localhost", "--port", "1"])
        #expect(gone.status == 2 && gone.output.contains("could not connect"), "\(gone.output)")
    }
}

extension String {
    /// What follows the first occurrence of a text.
    fileprivate func components(after text: String) -> Substring? {
        let (own, wanted) = (Array(self.utf8), Array(text.utf8))
        guard own.count >= wanted.count else { return nil }
        for start in 0...(own.count - wanted.count) where own[start..<start + wanted.count].elementsEqual(wanted) {
            return Substring(String(decoding: own[(start + wanted.count)...], as: UTF8.self))
        }
        return nil
    }
}
