import Common
import TestSupport
import Testing

@testable import Listener

/// A real listener with auth workers that say what the test wants.
@Suite struct ListenerAuthTests {
    private let access = AccessRules(
        rules: [AccessRule(permission: .allow, actions: .publish, filter: Array("from/worker".utf8))],
        noMatch: .deny
    )

    private func query(_ frame: PlainFrame) -> AuthQuery? {
        frame.body.withUnsafeBytes { AuthQuery.decode($0) }
    }

    private func connect(_ name: String, _ version: ProtocolVersion = .v5_0) -> ConnectPacket {
        ConnectPacket(
            version: version,
            clientIdentifier: Array(name.utf8),
            userName: Array("user-\(name)".utf8),
            password: Array("very secret".utf8)
        )
    }

    /// All queries that the workers have got, with the worker.
    private func queries(_ harness: ServiceHarness) -> [(worker: Int, frame: PlainFrame)] {
        harness.workers.indices.flatMap { worker in harness.workers[worker].frames(.authQuery).map { (worker, $0) } }
    }

    @Test("The worker is asked with everything; its rules go to the router, the password does not")
    func allow() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1)
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.wait("the query") { self.queries(harness).count == 1 }
        let frame = self.queries(harness)[0].frame
        let query = self.query(frame)
        #expect(query?.listenerName == Array("plain".utf8))
        #expect(query?.rulesName == Array("default".utf8))
        #expect(query?.peerAddress == Array(client.localAddress.utf8))
        #expect(query?.version == .v5_0)
        #expect(query?.clientIdentifier == Array("a".utf8))
        #expect(query?.userName == Array("user-a".utf8))
        #expect(query?.password == Array("very secret".utf8))
        try harness.loop.turnUntilQuiet()
        #expect(harness.router.frames(.sessionOpen).isEmpty)
        harness.workers[0].answer(frame.handle, AuthVerdict(outcome: .allow, access: self.access))
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        let open = harness.router.frames(.sessionOpen)[0].body.withUnsafeBytes { SessionOpen.decode($0) }
        #expect(open?.access == self.access)
        #expect(open?.userName == Array("user-a".utf8))
        #expect(try open.map { try Packet.decode($0.connect, .v5_0) } == .connect(self.withoutCredentials("a")))
        // A second verdict for the same query has no effect.
        harness.workers[0].answer(frame.handle, AuthVerdict(outcome: .deny, reason: .wrongPassword))
        harness.router.accept(harness.router.frames(.sessionOpen)[0].handle, .v5_0)
        try harness.wait("CONNACK") { client.packets(.v5_0)?.count == 1 }
        #expect(client.packets(.v5_0) == [.connack(ConnackPacket(sessionPresent: false, returnCode: 0))])
    }

    /// It waited for the timer wheel's horizon, four minutes, so that a row could become older than `stale_max` beside a live session.
    @Test("A live session is asked about every quarter of stale_max, without keep alive too")
    func revalidatesInTime() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1) {
            $0.authentication.cache.staleMaxNanoseconds = 2 * Nanoseconds.perSecond
        }
        let client = try harness.client()
        var connect = self.connect("a")
        connect.keepAliveSeconds = 0
        client.send(.connect(connect), .v5_0)
        try harness.wait("the query") { self.queries(harness).count == 1 }
        let verdict = AuthVerdict(outcome: .allow, source: .redis, access: self.access, keyHash: 77)
        for count in 1...4 {
            harness.workers[0].answer(self.queries(harness)[count - 1].frame.handle, verdict)
            if count == 1 {
                try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
                harness.router.accept(harness.router.frames(.sessionOpen)[0].handle, .v5_0)
            }
            try harness.wait("the next query") { self.queries(harness).count == count + 1 }
            #expect(self.query(self.queries(harness)[count].frame)?.revalidatedTag != nil)
        }
    }

    /// The router was told of a connection that ended: the session, and what comes for it, stayed.
    @Test(
        "Regression: a session ends with the right to be there, and not because of a password",
        arguments: [
            (AuthVerdict(outcome: .deny, reason: .noSuchDevice), true),
            (AuthVerdict(outcome: .deny, reason: .deviceDisabled), true),
            (AuthVerdict(outcome: .deny, reason: .certificateMissing), false),
            (AuthVerdict(outcome: .allow, credentialTag: [2], keyHash: 77), false),
        ],
        [true, false]
    )
    func endsSession(_ second: (verdict: AuthVerdict, endsSession: Bool), hasRouter: Bool) throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1) { $0.authentication.passwordChanged = .close }
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.wait("the query") { self.queries(harness).count == 1 }
        let first = AuthVerdict(outcome: .allow, access: self.access, credentialTag: [1], keyHash: 77)
        harness.workers[0].answer(self.queries(harness)[0].frame.handle, first)
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        harness.router.accept(harness.router.frames(.sessionOpen)[0].handle, .v5_0, number: 1)
        try harness.wait("CONNACK") { client.packets(.v5_0)?.count == 1 }
        if !hasRouter {
            harness.router.close()
            try harness.wait("the listener to notice") { !harness.isRouterUp }
            harness.router.forgetFrames()
        }
        harness.workers[0].doubtAll()
        try harness.wait("the query about the live session") { self.queries(harness).count == 2 }
        harness.workers[0].answer(self.queries(harness)[1].frame.handle, second.verdict)
        try harness.wait("DISCONNECT") { client.packets(.v5_0)?.count == 2 }
        if !hasRouter { try harness.router.open() }
        try harness.wait("sessionClosed") { harness.router.frames(.sessionClosed).count == 1 }
        let flags = harness.router.frames(.sessionClosed)[0].flags
        #expect((flags == FrameFlags.endsSession) == second.endsSession && (flags == 0) != second.endsSession)
    }

    private func withoutCredentials(_ name: String) -> ConnectPacket {
        var connect = self.connect(name)
        connect.password = nil
        connect.userName = nil
        return connect
    }

    @Test("Each verdict but allow: the return code of each version, and the log's reason")
    func refusals() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1) { $0.log.refusedPerSecond = 1000 }
        let table: [(AuthVerdict.Outcome, AuthVerdict.Reason, UInt8, UInt8, String)] = [
            (.deny, .noSuchDevice, 5, 0x87, "no-such-device"), (.deny, .wrongPassword, 4, 0x86, "wrong-password"),
            (.deny, .passwordMissing, 4, 0x86, "password-missing"), (.deny, .fieldMissing, 5, 0x87, "field-missing"),
            (.deny, .certificateMissing, 4, 0x86, "certificate-missing"),
            (.deny, .rowUnusable, 4, 0x86, "row-unusable"),
            (.deny, .fieldNotAllowed, 5, 0x87, "field-not-allowed"),
            (.unknown, .redisUnavailable, 3, 0x88, "redis-unavailable"),
            (.unknown, .redisError, 3, 0x88, "redis-error"), (.unknown, .rowTooLong, 3, 0x88, "row-too-long"),
            (.unknown, .overloaded, 3, 0x89, "auth-overloaded"),
            // An unknown that names a reason of a deny stays an unknown.
            (.unknown, .wrongPassword, 3, 0x88, "wrong-password"),
        ]
        for (outcome, reason, version3Code, version5Code, name) in table {
            for (version, code) in [(ProtocolVersion.v3_1_1, version3Code), (.v5_0, version5Code)] {
                harness.workers[0].forgetFrames()
                let client = try harness.client()
                client.send(.connect(self.connect("a", version)), version)
                try harness.wait("the query") { self.queries(harness).count == 1 }
                let verdict = AuthVerdict(outcome: outcome, reason: reason, detail: Array("why".utf8))
                harness.workers[0].answer(self.queries(harness)[0].frame.handle, verdict)
                try harness.wait("the end") {
                    client.read()
                    return client.isEnded
                }
                let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: code))
                #expect(client.packets(version) == [connack], "\(outcome) \(reason)")
                #expect(harness.log.refusals.last?["reason"] == name)
                #expect(harness.log.refusals.last?["detail"] == "why")
                #expect(harness.log.refusals.last?["device"] == "a")
            }
        }
        #expect(harness.router.frames.isEmpty)
    }

    @Test("A silent worker: the next one is asked, and its verdict counts")
    func silentWorker() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 2) {
            $0.authentication.workerTimeoutNanoseconds = 100 * Nanoseconds.perMillisecond
        }
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.wait("the first query") { self.queries(harness).count == 1 }
        let first = self.queries(harness)[0]
        try harness.wait("the second query") { !harness.workers[1 - first.worker].frames(.authQuery).isEmpty }
        let second = harness.workers[1 - first.worker].frames(.authQuery)[0]
        #expect(self.query(second) == self.query(first.frame))
        harness.workers[1 - first.worker].answer(second.handle, AuthVerdict(outcome: .allow, access: self.access))
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
    }

    /// Asked of both, each wrong password was compared twice and more where comparing takes long.
    @Test("Regression: a worker that answers others keeps the question; at the end it is said to be busy")
    func busyWorker() throws {
        for (timeout, wait, isEnd) in [(8, 8, false), (60, 10, true)] as [(UInt64, UInt64, Bool)] {
            let harness = try ServiceHarness(isAnonymous: false, workers: 2) {
                $0.authentication.workerTimeoutNanoseconds = timeout * Nanoseconds.perSecond
            }
            let client = try harness.client()
            client.send(.connect(self.connect("a")), .v5_0)
            try harness.wait("the query") { self.queries(harness).count == 1 }
            let asked = harness.loop.now
            let (worker, frame) = self.queries(harness)[0]
            // About a client that has gone.
            harness.workers[worker].answer(frame.handle &+ 1, AuthVerdict(outcome: .deny, reason: .noSuchDevice))
            try harness.wait("the listener to hear of it") { harness.service.counters.framesWithoutConnection == 1 }
            let connection = try #require(harness.service.connection(frame.handle))
            harness.service.auth.timedOut(connection, now: asked + wait * Nanoseconds.perSecond)
            try harness.loop.turnUntilQuiet()
            #expect(self.queries(harness).count == 1)
            guard isEnd else { continue }
            let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0x89))
            try harness.wait("CONNACK") { client.packets(.v5_0) == [connack] }
            #expect(harness.log.refusals.last?["reason"] == "auth-overloaded")
        }
    }

    @Test("One client's queries go to one worker, many clients' to all")
    func spread() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 2)
        var clients: [TCPClient] = []
        for round in 1...2 {
            for index in 0..<20 {
                let client = try harness.client()
                client.send(.connect(self.connect("c\(index)")), .v5_0)
                clients.append(client)
            }
            try harness.wait("the queries") { self.queries(harness).count == 20 * round }
        }
        let users = harness.workers.map { worker in Set(worker.frames(.authQuery).map { self.query($0)?.userName }) }
        #expect(users[0].isDisjoint(with: users[1]))
        #expect(!users[0].isEmpty && !users[1].isEmpty)
    }

    @Test("A worker that is lost: its queries are asked elsewhere at once")
    func workerLost() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 2)
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.wait("the first query") { self.queries(harness).count == 1 }
        let first = self.queries(harness)[0]
        harness.workers[first.worker].close()
        let other = harness.workers[1 - first.worker]
        try harness.wait("the second query") { other.frames(.authQuery).count == 1 }
        other.answer(other.frames(.authQuery)[0].handle, AuthVerdict(outcome: .allow, access: self.access))
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        #expect(harness.log.lines.contains { $0.message == "auth worker lost" })
    }

    @Test(
        "A worker that hangs: live sessions of its are asked about elsewhere, and so are new clients, until it answers again"
    )
    func workerHangs() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 2) {
            $0.authentication.workerTimeoutNanoseconds = 200 * Nanoseconds.perMillisecond
        }
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.wait("the first query") { self.queries(harness).count == 1 }
        let first = self.queries(harness)[0]
        let (hung, other) = (harness.workers[first.worker], harness.workers[1 - first.worker])
        hung.answer(first.frame.handle, AuthVerdict(outcome: .allow, access: self.access, keyHash: 7))
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        harness.router.accept(harness.router.frames(.sessionOpen)[0].handle, .v5_0)
        for worker in harness.workers {
            try harness.wait("a ping") { !worker.frames(.authPing).isEmpty }
            worker.pong()
        }
        try harness.wait("the listener to notice") {
            if other.frames(.authPing).count > 1 { other.pong() }
            return harness.service.auth.workersUp == 1
        }
        try harness.wait("the question about the session") { !other.frames(.authQuery).isEmpty }
        #expect(other.frames(.authQuery)[0].handle == first.frame.handle)
        // What it says late does not count.
        other.answer(first.frame.handle, AuthVerdict(outcome: .deny, reason: .noSuchDevice))
        try harness.wait("the end of the session") { harness.router.frames(.sessionClosed).count == 1 }
        hung.pong()
        try harness.wait("the listener to notice") {
            other.pong()
            return harness.service.auth.workersUp == 2
        }
        #expect(harness.log.lines.contains { $0.message == "auth worker does not answer" })
    }

    @Test("Without any worker a CONNECT waits, and is asked when one comes, and again when that one is replaced")
    func noWorker() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1)
        harness.workers[0].close()
        try harness.wait("the listener to notice") { harness.service.auth.workersUp == 0 }
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        try harness.loop.turnUntilQuiet()
        client.read()
        #expect(client.received.isEmpty && !client.isEnded)
        for _ in 0..<2 {
            harness.workers[0].forgetFrames()
            try harness.workers[0].open()
            try harness.wait("the query") { self.queries(harness).count == 1 }
            harness.workers[0].close()
            try harness.wait("the listener to notice") { harness.service.auth.workersUp == 0 }
        }
        harness.workers[0].forgetFrames()
        try harness.workers[0].open()
        try harness.wait("the query") { self.queries(harness).count == 1 }
        let verdict = AuthVerdict(outcome: .unknown, reason: .redisUnavailable)
        harness.workers[0].answer(self.queries(harness)[0].frame.handle, verdict)
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0x88))
        try harness.wait("CONNACK") { client.packets(.v5_0) == [connack] }
    }

    @Test("A verdict for a client that has gone, or that is no verdict, is counted and harms nobody")
    func strayVerdicts() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1)
        let gone = try harness.client()
        gone.send(.connect(self.connect("gone")), .v5_0)
        try harness.wait("the query") { self.queries(harness).count == 1 }
        let handle = self.queries(harness)[0].frame.handle
        harness.workers[0].link?.output.writeFrameHeader(.authVerdict, handle: handle, bodyBytes: 3)
        harness.workers[0].link?.output.write([1, 2, 3])
        harness.workers[0].answer(handle, AuthVerdict(outcome: .deny, reason: .noSuchDevice))
        try harness.wait("its end") {
            gone.read()
            return gone.isEnded
        }
        gone.finish()
        try harness.wait("the place to be free") { harness.service.connection(handle) == nil }
        harness.workers[0].answer(handle, AuthVerdict(outcome: .allow, access: .allowEverything))
        try harness.wait("the stray verdict") { harness.service.counters.framesWithoutConnection == 1 }
        #expect(harness.service.counters.invalidFrames == 1)
        #expect(harness.router.frames(.sessionOpen).isEmpty)
    }

    @Test("A user name that is to come from a certificate: without one nobody gets in")
    func userNameFromCertificate() throws {
        let harness = try ServiceHarness(isAnonymous: false, workers: 1) { $0.listeners[0].userNameFrom = .commonName }
        let client = try harness.client()
        client.send(.connect(self.connect("a")), .v5_0)
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 0x87))
        try harness.wait("CONNACK") { client.packets(.v5_0) == [connack] }
        #expect(harness.log.refusals.last?["reason"] == "field-missing")
        // It spoke of a certificate that there was not.
        #expect(
            harness.log.refusals.last?["detail"] == "user_name_from: cn, and the client shows no certificate"
        )
        #expect(self.queries(harness).isEmpty)
    }

    @Test("authentication.source: none lets nobody in where the listener is not anonymous")
    func noAuthentication() throws {
        let harness = try ServiceHarness(isAnonymous: false) { $0.authentication.source = .none }
        let client = try harness.client()
        client.send(.connect(self.connect("a", .v3_1_1)))
        let connack = Packet.connack(ConnackPacket(sessionPresent: false, returnCode: 5))
        try harness.wait("CONNACK") { client.packets() == [connack] }
        #expect(harness.log.refusals.last?["reason"] == "no-authentication-configured")
    }
}
