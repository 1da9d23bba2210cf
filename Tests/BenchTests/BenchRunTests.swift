import Common
import Glibc
import Testing

@testable import Bench

/// Runs against brokers that do something out of the ordinary.
@Suite struct BenchRunTests {
    private func perform(
        _ kind: BenchRun.Kind,
        _ broker: StubBroker,
        _ change: (inout BenchOptions) -> Void
    ) throws -> BenchReport {
        var options = BenchOptions()
        (options.port, options.clients, options.subscribers, options.count) = (broker.port, 3, 2, 4)
        change(&options)
        return try BenchRun.perform(kind, options) { _ in }
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
}
