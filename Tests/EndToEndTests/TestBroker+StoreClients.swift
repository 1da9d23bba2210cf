import Common
import TestSupport
import Testing

/// Clients for tests of a store that can't be written, without TLS.
extension TestBroker {
    /// Of a session that goes on for an hour.
    static var lasting: Properties {
        var properties = Properties()
        properties.sessionExpiryInterval = 3600
        return properties
    }

    /// - Parameter lasts: its session goes on, for an hour; otherwise it begins anew, and ends with the connection.
    func plainClient(_ loop: EventLoop, _ name: String, lasts: Bool = false) throws -> TestClient {
        let client = try TestClient(loop: loop, port: self.plainPort, version: .v5_0)
        let properties = lasts ? Self.lasting : Properties()
        let connack = try client.connect(clientIdentifier: name, cleanStart: !lasts, properties: properties)
        #expect(connack.returnCode == 0)
        return client
    }

    /// A client named `parked` whose connection breaks: what comes for topic `t` is stored.
    func parkClient(_ loop: EventLoop) throws {
        let parked = try self.plainClient(loop, "parked", lasts: true)
        #expect(try parked.subscribe("t", qos: .atLeastOnce) == [1])
        parked.cut()
    }

    /// A new client is told that a message for topic `t` can't be stored.
    func expectRefusal(_ newcomer: TestClient) throws {
        newcomer.publish("t", Array("refused".utf8), qos: .atLeastOnce, packetIdentifier: 9)
        guard case .puback(let refusal) = try newcomer.next("a refusal") else {
            Issue.record("no PUBACK")
            return
        }
        #expect(refusal.reasonCode == .quotaExceeded)
    }
}
