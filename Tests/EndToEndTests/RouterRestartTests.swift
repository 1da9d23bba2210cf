import Common
import Glibc
import TestSupport
import Testing

/// Real processes: the router goes and comes under connections that live. Clients notice a pause.
@Suite struct RouterRestartTests {
    enum End: String, CaseIterable, Sendable {
        case crash = "kill -9"
        case stop = "SIGTERM"
    }

    /// A client that never connects again, and counts what is wrong.
    private final class Device {
        let name: String
        let client: TestClient
        private(set) var faults: [String] = []
        private(set) var came: [String: Int] = [:]
        private(set) var order: [String] = []
        private var held: Set<UInt16> = []
        private var underWay: [UInt16: (payload: String, qos: QoS, since: Instant)] = [:]
        private(set) var sent: [String] = []
        private(set) var acknowledged = 0
        private var identifier: UInt16 = 0
        /// From PUBLISH to PUBACK or PUBCOMP, nanoseconds.
        private(set) var latencies: [UInt64] = []

        init(_ broker: TestBroker, _ loop: EventLoop, _ name: String, version: ProtocolVersion, lasts: Bool) throws {
            self.name = name
            let credentials = try broker.pki.device(name)
            self.client = try TestClient(
                loop: loop,
                port: broker.tlsPort,
                version: version,
                tls: try broker.tlsContext(credentials)
            )
            try broker.provision(name, password: "secret")
            var properties = Properties()
            if lasts, version == .v5_0 { properties.sessionExpiryInterval = 3600 }
            let connack = try self.client.connect(
                clientIdentifier: name,
                userName: name,
                password: "secret",
                cleanStart: !lasts,
                properties: properties
            )
            #expect(connack.returnCode == 0)
        }

        func listen() {
            self.client.onPacket = { [unowned self] in self.take($0) }
        }

        private func take(_ packet: Packet) {
            switch packet {
            case .publish(let publish):
                let payload = String(decoding: publish.payload, as: UTF8.self)
                let ack = AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)
                if publish.qos == .exactlyOnce {
                    guard self.held.insert(publish.packetIdentifier).inserted else {
                        return self.faults.append("\(payload) came with an identifier in use")
                    }
                    self.client.send(.pubrec(ack))
                } else {
                    self.client.send(.puback(ack))
                }
                if self.came[payload] == nil { self.order.append(payload) }
                self.came[payload, default: 0] += 1
            case .pubrel(let pubrel):
                self.held.remove(pubrel.packetIdentifier)
                self.client.send(.pubcomp(AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)))
            case .pubrec(let ack):
                if self.underWay[ack.packetIdentifier]?.qos != .exactlyOnce { self.faults.append("\(packet)") }
                self.client.send(.pubrel(AcknowledgementPacket(packetIdentifier: ack.packetIdentifier)))
            case .puback(let ack), .pubcomp(let ack):
                guard let sent = self.underWay.removeValue(forKey: ack.packetIdentifier), !ack.reasonCode.isFailure
                else { return self.faults.append("\(packet)") }
                self.acknowledged += 1
                self.latencies.append(Clock.monotonic() - sent.since)
            default:
                self.faults.append("\(packet)")
            }
        }

        func publish(total: Int) {
            while self.sent.count < total, self.underWay.count < 10 {
                self.identifier = self.identifier % 60_000 + 1
                let qos = self.sent.count.isMultiple(of: 2) ? QoS.atLeastOnce : .exactlyOnce
                let payload = "\(self.name) \(qos.rawValue) \(self.sent.count)"
                self.sent.append(payload)
                self.underWay[self.identifier] = (payload, qos, Clock.monotonic())
                self.client.publish(
                    "shared/\(self.name)",
                    Array(payload.utf8),
                    qos: qos,
                    packetIdentifier: self.identifier
                )
            }
        }
    }

    @Test(arguments: End.allCases)
    func `clients notice nothing but a pause`(_ end: End) throws {
        let broker = try TestBroker(listeners: 2)
        let loop = try EventLoop()
        let total = 800
        let publishers = [
            try Device(broker, loop, "p1", version: .v5_0, lasts: false),
            try Device(broker, loop, "p2", version: .v3_1_1, lasts: true),
            try Device(broker, loop, "p3", version: .v3_1_1, lasts: false),
        ]
        let subscribers = [
            try Device(broker, loop, "s1", version: .v5_0, lasts: true),
            try Device(broker, loop, "s2", version: .v3_1_1, lasts: false),
            try Device(broker, loop, "s3", version: .v5_0, lasts: false),
        ]
        for subscriber in subscribers { #expect(try subscriber.client.subscribe("shared/+", qos: .exactlyOnce) == [2]) }
        for device in publishers + subscribers { device.listen() }
        var restarts = 0
        try loop.wait("everything has arrived", seconds: 240) {
            for publisher in publishers { publisher.publish(total: total) }
            let acknowledged = publishers.reduce(0) { $0 + $1.acknowledged }
            if restarts < 3, acknowledged > 500 * (restarts + 1) {
                restarts += 1
                do {
                    try self.restart(broker, loop, end)
                } catch {
                    Issue.record("\(error)")
                }
            }
            return acknowledged == total * publishers.count
                && subscribers.allSatisfy { $0.came.count == total * publishers.count }
                || (publishers + subscribers).contains { $0.client.hasEnded }
        }
        #expect(restarts == 3)
        self.check(publishers, subscribers, end)
        let latencies = publishers.flatMap(\.latencies).sorted()
        let worst = latencies.suffix(3 * 10 * publishers.count).map { $0 / Nanoseconds.perMillisecond }
        print(
            "router restarted by \(end.rawValue) under \(latencies.count) messages: those on their way waited up to "
                + "\(worst.last ?? 0) ms, half of them up to \(worst[worst.count / 2]) ms"
        )
    }

    private func restart(_ broker: TestBroker, _ loop: EventLoop, _ end: End) throws {
        switch end {
        case .crash:
            broker.killRouter()
        case .stop:
            let router = broker.router
            router.signal(SIGTERM)
            try loop.wait("the router stops") { !router.isRunning }
            #expect(try router.waitForExit() == 0)
        }
        _ = try broker.startRouterAgain()
    }

    private func check(_ publishers: [Device], _ subscribers: [Device], _ end: End) {
        for device in publishers + subscribers {
            #expect(!device.client.hasEnded, "\(device.name): \(device.client.state)")
            #expect(device.faults == [], "\(device.name)")
        }
        for subscriber in subscribers {
            for publisher in publishers {
                let lost = publisher.sent.filter { subscriber.came[$0] == nil }
                #expect(lost == [], "lost by \(subscriber.name)")
                for level in 1...2 {
                    let prefix = "\(publisher.name) \(level) "
                    let order = subscriber.order.filter { $0.hasPrefix(prefix) }
                    #expect(order == publisher.sent.filter { $0.hasPrefix(prefix) }, "order of \(subscriber.name)")
                }
            }
            let twice = subscriber.came.filter { $0.value > 1 }
            let exactlyOnce = twice.filter { $0.key.split(separator: " ")[1] == "2" }
            #expect(exactlyOnce.isEmpty, "QoS 2 messages came twice to \(subscriber.name)")
            // A router that is told to stop leaves nothing to be sent again.
            if end == .stop { #expect(twice.isEmpty, "messages came twice to \(subscriber.name)") }
        }
    }

    @Test func `without a router pings are answered, publishers are held, and CONNECT waits`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        func client(_ name: String, _ will: String? = nil) throws -> TestClient {
            let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
            let message = will.map {
                ConnectPacket.Will(
                    qos: .atLeastOnce,
                    retain: false,
                    topic: Array("wills".utf8),
                    payload: Array($0.utf8)
                )
            }
            #expect(try client.connect(clientIdentifier: name, will: message).returnCode == 0)
            return client
        }
        let watcher = try client("watcher")
        #expect(try watcher.subscribe("#", qos: .atLeastOnce) == [1])
        let device = try client("device")
        let polite = try client("polite", "of the polite one")
        let broken = try client("broken", "of the broken one")

        broker.killRouter()
        try broker.listeners[0].waitForLog("router lost")
        device.publish("t", Array("0".utf8))
        device.publish("t", Array("1".utf8), qos: .atLeastOnce, packetIdentifier: 7)
        for _ in 0..<3 {
            device.send(.pingreq)
            #expect(try device.next("PINGRESP") == .pingresp)
        }
        polite.publish("t", Array("last words".utf8), qos: .atLeastOnce, packetIdentifier: 1)
        polite.send(.disconnect(DisconnectPacket(reasonCode: .success)))
        broken.cut()
        let late = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        late.send(.connect(ConnectPacket(version: .v5_0, clientIdentifier: Array("late".utf8))))
        try loop.turnUntilQuiet()
        #expect(late.received == [] && device.received == [])

        _ = try broker.startRouterAgain()
        guard case .puback(let puback) = try device.next("PUBACK") else {
            Issue.record("no PUBACK")
            return
        }
        #expect(puback.packetIdentifier == 7 && !puback.reasonCode.isFailure)
        guard case .connack(let connack) = try late.next("CONNACK") else {
            Issue.record("no CONNACK")
            return
        }
        #expect(connack.returnCode == 0)
        var payloads: [String] = []
        while payloads.count < 4 {
            guard case .publish(let publish) = try watcher.next("a message; came: \(payloads)") else { continue }
            payloads.append(String(decoding: publish.payload, as: UTF8.self))
            guard publish.qos == .atLeastOnce else { continue }
            watcher.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        }
        #expect(payloads.sorted() == ["0", "1", "last words", "of the broken one"])
        try loop.wait("the polite one's end") { polite.hasEnded }
    }

    /// Of a QoS 0 packet nobody had the rest, and the client lost its connection.
    @Test(arguments: End.allCases) func `a client that has half of a QoS 0 message gets the rest`(_ end: End) throws {
        let broker = try TestBroker(settings: "mqtt: {max_packet_size: 64MiB}\n")
        let (loop, readersLoop) = (try EventLoop(), try EventLoop())
        let reader = try TestClient(loop: readersLoop, port: broker.plainPort, version: .v5_0)
        #expect(try reader.connect(clientIdentifier: "reader").returnCode == 0)
        #expect(try reader.subscribe("t", qos: .atMostOnce) == [0])
        let publisher = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        #expect(try publisher.connect(clientIdentifier: "publisher").returnCode == 0)
        // More than the kernel takes for a client that does not read.
        let payload = (0..<14 << 20).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 16) }
        publisher.publish("t", payload)
        try loop.wait("it is under way", seconds: 60) {
            (try? broker.figure("bytes_sent_total", of: "listener")).map { $0 > 100_000 } ?? false
        }
        let packets = broker.directory.file("run/packets")
        func isKept() throws -> Bool { try !readFile(packets + "/index").allSatisfy { $0 == 0 } }
        #expect(try isKept())
        try self.restart(broker, loop, end)
        try waitUntil("the sessions") {
            (try? broker.status(of: "router"))?.contains("\nsessions_attached 2\n") == true
        }
        publisher.publish("t", Array("small".utf8))
        try loop.turnUntilQuiet()
        for expected in [payload, Array("small".utf8)] {
            guard case .publish(let publish) = try reader.next("a message") else {
                Issue.record("no PUBLISH")
                return
            }
            #expect(publish.payload == expected)
        }
        try waitUntil("nothing is kept any more") { try !isKept() }
    }

    @Test func `mosquitto_sub stays connected while the router is restarted`() throws {
        let broker = try TestBroker()
        let credentials = try broker.pki.device("reader")
        try broker.provision("reader", password: "secret")
        let output = broker.directory.file("came")
        let options =
            broker.mosquittoOptions(credentials) + [
                "-i", "reader", "-u", "reader", "-P", "secret", "-V", "mqttv5", "-q", "2", "-t", "shared/#", "-C", "20",
                "-d",
            ]
        let reader = try ChildProcess(
            "/bin/sh",
            arguments: ["-c", "exec mosquitto_sub \"$@\" > \(output)", "sh", "-W", "120"] + options,
            name: "mosquitto_sub",
            logFile: broker.directory.file("mosquitto_sub.log")
        )
        try waitUntil("the subscription") { try broker.status(of: "router").contains("\nsubscriptions 1\n") }
        for number in 0..<20 {
            if number == 7 { try broker.restartRouter() }
            if number == 14 {
                broker.router.signal(SIGTERM)
                #expect(try broker.router.waitForExit() == 0)
                _ = try broker.startRouterAgain()
            }
            let (status, text) = try runProcess(
                "mosquitto_pub",
                arguments: [
                    "-p", "\(broker.plainPort)", "-V", "mqttv5", "-q", "2", "-t", "shared/n", "-m", "\(number)",
                ]
            )
            #expect(status == 0, "\(text)")
        }
        #expect(try reader.waitForExit() == 0)
        let lines = String(decoding: try readFile(output), as: UTF8.self).split(separator: "\n")
        #expect(lines.filter { $0.allSatisfy(\.isNumber) } == (0..<20).map { "\($0)" }, "each once, in order")
        #expect(lines.count { $0.contains("received CONNACK") } == 1)
    }

    @Test func `a router of the next wire version takes over the connections of listeners of this one`() throws {
        let broker = try TestBroker(listeners: 2)
        let loop = try EventLoop()
        let reader = try Device(broker, loop, "reader", version: .v5_0, lasts: false)
        #expect(try reader.client.subscribe("shared/+", qos: .exactlyOnce) == [2])
        let publisher = try Device(broker, loop, "publisher", version: .v3_1_1, lasts: true)
        for device in [reader, publisher] { device.listen() }
        func exchange(_ total: Int) throws {
            try loop.wait("\(total) messages") {
                publisher.publish(total: total)
                return reader.came.count == total && publisher.acknowledged == total
            }
        }
        try exchange(20)
        broker.router.signal(SIGTERM)
        #expect(try broker.router.waitForExit() == 0)
        let next = broker.directory.file("next")
        mkdir(next, 0o700)
        try broker.startRouter(runtimeDirectory: next)
        let proxy = try HelloProxy(path: broker.directory.file("run/router.sock"), target: next + "/router.sock")
        defer { proxy.stop() }
        try exchange(40)
        #expect(reader.faults == [] && publisher.faults == [])
        #expect(!reader.client.hasEnded && !publisher.client.hasEnded)
        #expect(reader.came == Dictionary(uniqueKeysWithValues: publisher.sent.map { ($0, 1) }))
        let status = try askStatus(next + "/control/router-1.sock")
        #expect(status.contains("\nsessions_attached 2\n"), "\(status)")
    }

    @Test func `without a router for too long clients are let go`() throws {
        let broker = try TestBroker {
            $0.replacing("auth_workers: 1}", with: "auth_workers: 1, router_absence_max: 1s}")
        }
        let loop = try EventLoop()
        let client = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        #expect(try client.connect(clientIdentifier: "c").returnCode == 0)
        broker.killRouter()
        #expect(try client.next("DISCONNECT") == .disconnect(DisconnectPacket(reasonCode: .serverShuttingDown)))
    }
}
