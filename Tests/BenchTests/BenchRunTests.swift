import Common
import Glibc
import Testing

@testable import Bench

/// Runs against brokers that do something out of the ordinary.
@Suite struct BenchRunTests {
    private func perform(
        _ kind: BenchRun.Kind,
        _ broker: StubBroker,
        _ change: (inout BenchOptions) -> Void = { _ in },
        wantsEnd: @escaping () -> Bool = { false }
    ) throws -> BenchReport {
        var options = BenchOptions()
        (options.port, options.clients, options.subscribers, options.count) = (broker.port, 3, 2, 4)
        change(&options)
        return try BenchRun.perform(kind, options, wantsEnd: wantsEnd) { _ in }
    }

    private func figure(_ name: String, in report: BenchReport) -> Double? {
        switch report.lines.first(where: { $0.name == name })?.value {
        case .number(let number): number
        case .count(let count): Double(count)
        default: nil
        }
    }

    /// Keeps retained messages, and gives them to subscribers; each as many times as `copies` says of its place among them.
    private final class Retaining {
        var retained: [[UInt8]: PublishPacket] = [:]
        var publishedQoS: Set<UInt8> = []
        var (released, completed, acknowledged) = (0, 0, 0)

        func answer(_ connection: StubBroker.Connection, _ packet: Packet, grants: QoS = .exactlyOnce, drops: Int = 0) {
            connection.answer(packet, grants: grants)
            switch packet {
            case .publish(let publish):
                self.publishedQoS.insert(publish.qos.rawValue)
                self.retained[publish.topic] = publish.payload.isEmpty ? nil : publish
            case .pubrel: self.released += 1
            case .pubrec(let pubrec):
                let identifier = pubrec.packetIdentifier
                connection.send([0x62, 2, UInt8(identifier >> 8), UInt8(identifier & 0xFF)])
            case .pubcomp: self.completed += 1
            case .puback: self.acknowledged += 1
            case .subscribe(let subscribe):
                for (index, message) in self.retained.values.dropFirst(drops).enumerated() {
                    let qos = min(grants, subscribe.subscriptions[0].qos, message.qos)
                    let identifier = qos == .atMostOnce ? 0 : UInt16(index + 1)
                    let packet = PublishPacket(
                        qos: qos,
                        retain: true,
                        topic: message.topic,
                        packetIdentifier: identifier,
                        payload: message.payload
                    )
                    connection.send(.publish(packet))
                }
            default: break
            }
        }
    }

    /// A division by the number of ledgers, which were not there yet; later they were counted.
    @Test("Regression: messages that old sessions kept from an interrupted run are neither counted nor the run's end")
    func oldSessions() throws {
        var sessions: [String: [PublishPacket]] = [:]
        let broker = try StubBroker { connection, packet in
            let name = String(decoding: connection.connect.clientIdentifier, as: UTF8.self)
            connection.answer(packet)
            switch packet {
            case .connect(let connect) where connect.cleanStart: break
            case .connect:
                var payload = MessageStamp.filler(128)
                payload.withUnsafeMutableBytes { MessageStamp(publisher: 0, sequence: 0, due: 0).write(into: $0) }
                let topic = Array("martlet-bench/old/0".utf8)
                connection.send(.publish(PublishPacket(topic: topic, payload: payload)))
                for message in sessions.removeValue(forKey: name) ?? [] { connection.send(.publish(message)) }
            case .publish(var publish):
                let receiver = "martlet-bench-" + String(decoding: publish.topic, as: UTF8.self).suffix(1)
                (publish.qos, publish.packetIdentifier) = (.atMostOnce, 0)
                sessions[receiver, default: []].append(publish)
            default: break
            }
        }
        defer { broker.stop() }
        let report = try self.perform(.offline, broker) { $0.version = .v3_1_1 }
        #expect(report.isGood, "\(report.problems)")
    }

    /// Each failure began the next connection from within itself, until there was no stack any more.
    @Test("Regression: thousands of connections that fail at once are told of")
    func immediateFailures() throws {
        var options = BenchOptions()
        // The kernel refuses it at once: no socket without permission to broadcast.
        (options.host, options.clients) = ("255.255.255.255", 20_000)
        let failure = #expect(throws: BenchFailure.self) { try BenchRun.perform(.connect, options) { _ in } }
        #expect(
            failure?.description.contains("20000 clients could not connect: connect: ") ?? false,
            "\(failure as Any)"
        )
    }

    /// One of many was as if none had come: no report, and status 2.
    @Test("Regression: a connection that is refused is counted beside those that are not", arguments: [false, true])
    func refusedConnection(isChurning: Bool) throws {
        let broker = try StubBroker { connection, packet in
            guard case .connect = packet, connection.number == 1 else { return connection.answer(packet) }
            connection.send(.connack(ConnackPacket(sessionPresent: false, returnCode: 0x87)))
        }
        defer { broker.stop() }
        let report = try self.perform(.connect, broker) { ($0.isChurning, $0.seconds) = (isChurning, 0.1) }
        #expect(report.problems == ["1 clients could not connect: CONNACK 0x87 (not authorized)"])
        #expect(self.figure("connected", in: report) == 2 && self.figure("failed", in: report) == 1)
    }

    @Test("Regression: subscribers that are refused leave the others to be measured")
    func refusedSubscriber() throws {
        let state = Retaining()
        let broker = try StubBroker { connection, packet in
            let name = String(decoding: connection.connect.clientIdentifier, as: UTF8.self)
            guard case .connect = packet, name == "martlet-bench-0" else { return state.answer(connection, packet) }
            connection.send(.connack(ConnackPacket(sessionPresent: false, returnCode: 0x97)))
        }
        defer { broker.stop() }
        let report = try self.perform(.retained, broker)
        #expect(report.problems == ["1 clients could not connect: CONNACK 0x97 (quota exceeded)"])
        #expect(self.figure("lost", in: report) == 0 && self.figure("subscribers", in: report) == 1)
    }

    /// It said that a packet was broken.
    @Test("Regression: a broker that does not speak this version of MQTT is told as such", arguments: [false, true])
    func otherVersion(isOld: Bool) throws {
        let broker = try StubBroker { connection, _ in connection.send([0x20, 2, 0, 1]) }
        defer { broker.stop() }
        let failure = #expect(throws: BenchFailure.self) {
            try self.perform(.connect, broker) { $0.version = isOld ? .v3_1_1 : .v5_0 }
        }
        let advice = "CONNACK 0x1 (unsupported protocol version): try --mqtt \(isOld ? "5" : "3.1.1")"
        #expect(failure?.description.hasSuffix(advice) ?? false, "\(failure as Any)")
    }

    /// It counted each CONNACK.
    @Test("Regression: a client that came back after a storm and is gone again is not back")
    func lostAgain() throws {
        var kicked = 0
        let broker = try StubBroker { connection, packet in
            connection.answer(packet)
            guard case .connect = packet, (3..<6).contains(connection.number) else { return }
            kicked += 1
            connection.end()
        }
        defer { broker.stop() }
        let report = try self.perform(.storm, broker)
        #expect(self.figure("back", in: report) == 3 && self.figure("lost_again", in: report) == 3)
        #expect(report.problems == ["3 connections ended again after their clients had come back"])
        #expect(broker.locked { kicked } == 3)
    }

    /// They published with QoS 1, and did not look at what was granted.
    @Test("Regression: retained messages of QoS 2 are that both ways, and less than that is told")
    func exactlyOnce() throws {
        for grants in [QoS.exactlyOnce, .atLeastOnce] {
            let state = Retaining()
            let broker = try StubBroker { state.answer($0, $1, grants: grants) }
            defer { broker.stop() }
            let report = try self.perform(.retained, broker) { ($0.qos, $0.window) = (.exactlyOnce, 1) }
            let isFull = grants == .exactlyOnce
            #expect(report.problems == (isFull ? [] : ["2 subscriptions were granted QoS 1, not 2"]))
            broker.locked {
                #expect(state.publishedQoS == [2] && state.retained.isEmpty)
                // Four that are stored, and four that remove them.
                #expect(state.released == 8 && state.completed <= (isFull ? 8 : 0))
            }
        }
    }

    /// With MQTT 3.1.1 a broker cannot say how many it takes at a time, and mosquitto takes 20.
    @Test(
        "Regression: messages for clients that are away are published with QoS 2 when they are to be",
        arguments: [ProtocolVersion.v5_0, .v3_1_1]
    )
    func exactlyOnceOffline(version: ProtocolVersion) throws {
        var (underWay, most) = (0, 0)
        var (sessions, published): ([String: [PublishPacket]], Set<UInt8>) = ([:], [])
        let broker = try StubBroker { connection, packet in
            let name = String(decoding: connection.connect.clientIdentifier, as: UTF8.self)
            connection.answer(packet)
            switch packet {
            case .connect(let connect) where !connect.cleanStart:
                for message in sessions.removeValue(forKey: name) ?? [] { connection.send(.publish(message)) }
            case .publish(var publish):
                published.insert(publish.qos.rawValue)
                underWay += 1
                most = max(most, underWay)
                let receiver = "martlet-bench-" + String(decoding: publish.topic, as: UTF8.self).suffix(1)
                publish.packetIdentifier = UInt16((sessions[receiver] ?? []).count + 1)
                sessions[receiver, default: []].append(publish)
            case .pubrel: underWay -= 1
            default: break
            }
        }
        defer { broker.stop() }
        let report = try self.perform(.offline, broker) { ($0.qos, $0.version, $0.count) = (.exactlyOnce, version, 20) }
        #expect(version == .v5_0 || broker.locked { most } <= 16)
        #expect(report.isGood, "\(report.problems)")
        #expect(broker.locked { published } == [2])
    }

    /// The time in which nothing came was in it.
    @Test("Regression: what is delivered a second counts until the last message, also when one is lost")
    func lastMessage() throws {
        let state = Retaining()
        let broker = try StubBroker { state.answer($0, $1, drops: 1) }
        defer { broker.stop() }
        let quiet = 3
        let report = try self.perform(.retained, broker) { $0.quietSeconds = quiet }
        #expect(report.problems == ["lost: 2"])
        // Six messages.
        #expect(self.figure("delivered_per_s", in: report) ?? 0 > 6 / Double(quiet))
    }

    /// It left them at the broker, and reported nothing.
    @Test("Regression: a run of retained messages that is interrupted removes them and reports what there is")
    func interrupted() throws {
        let state = Retaining()
        let broker = try StubBroker { state.answer($0, $1, drops: 1) }
        defer { broker.stop() }
        let began = Clock.monotonic()
        let report = try self.perform(.retained, broker) {
            ($0.qos, $0.quietSeconds) = (.atLeastOnce, 600)
        } wantsEnd: {
            // All that will come.
            broker.locked { state.acknowledged == 6 }
        }
        #expect(Clock.monotonic() - began < 60 * Nanoseconds.perSecond)
        #expect(report.problems.last == "the run was interrupted")
        #expect(broker.locked { state.retained.isEmpty })
    }

    @Test("Regression: retained messages that are being published when a run is interrupted are removed")
    func interruptedInPublishing() throws {
        let state = Retaining()
        let broker = try StubBroker { state.answer($0, $1) }
        defer { broker.stop() }
        let failure = #expect(throws: BenchFailure.self) {
            try self.perform(.retained, broker) {
                ($0.count, $0.window) = (1_000_000, 1)
            } wantsEnd: {
                broker.locked { !state.retained.isEmpty }
            }
        }
        #expect(failure?.description.hasSuffix("of 1000000 messages were stored") ?? false, "\(failure as Any)")
        #expect(broker.locked { state.retained.isEmpty })
    }

    @Test("Regression: a broker that is gone has used no negative time, and it is told")
    func brokerGone() throws {
        let broker = try StubBroker { $0.answer($1) }
        defer { broker.stop() }
        let report = try self.perform(.connect, broker) { $0.processes = [2_147_483_646] }
        #expect(report.problems == ["process 2147483646 of --pid has ended: CPU time and memory are not known"])
        #expect(!report.lines.contains { $0.name.hasPrefix("broker_") })
        #expect(BrokerUsage.now([getpid()]).gone.isEmpty)
    }

    @Test("Certificates are read before the first connection")
    func certificatesFirst() throws {
        let broker = try StubBroker { _, _ in }
        defer { broker.stop() }
        let failure = #expect(throws: (any Error).self) {
            try self.perform(.connect, broker) {
                ($0.usesTLS, $0.certificatePattern, $0.keyFile) = (true, "/nowhere/%d.crt", "/nowhere/key")
            }
        }
        // Connections would have been counted.
        #expect(failure.map { !"\($0)".contains("could not connect") } ?? false, "\(failure as Any)")
    }

    /// A line of a broker or of OpenSSL with a quotation mark in it was no JSON any more.
    @Test("Regression: problems are escaped in JSON")
    func escapedProblems() {
        var report = BenchReport()
        report.add("name", "a\\b")
        report.complain("it said \"no\"\n")
        #expect(report.json == #"{"name":"a\\b","ok":false,"problems":["it said \"no\"\u000a"]}"#)
    }
}
