import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Credit that was taken for a message that waits for its commit, and is not written after all.
@Suite struct HeldCreditTests {
    private let directory: TemporaryDirectory
    private let harness: RouterHarness
    private let listener: RouterHarness.FakeListener
    private let publisher: FakeClient

    init() throws {
        self.directory = try TemporaryDirectory()
        let store = try StoreFile(path: self.directory.file("store.db"), survivesPowerLoss: false)
        self.harness = RouterHarness(store: store)
        self.listener = self.harness.addListener(sessionCredit: 16 << 10, linkCredit: 64 << 10)
        self.publisher = self.harness.client("publisher")
        self.publisher.connect()
    }

    /// A message of 4 KB is for the client, and waits for its commit.
    private func publishHeld(to client: FakeClient) {
        self.harness.commitsAtOnce = false
        let payload = String(repeating: "x", count: 4000)
        self.publisher.beginExchange("held", payload, identifier: 1)
        self.harness.commit()
        self.harness.flush()
        self.publisher.send(.pubrel(AcknowledgementPacket(packetIdentifier: 1)))
        self.publisher.takeAll()
        #expect(client.received.isEmpty, "or it does not wait")
    }

    private func readerGetsAll() {
        self.harness.commitsAtOnce = true
        self.harness.commit()
        self.harness.flush()
        let reader = self.harness.client("reader")
        reader.connect()
        reader.subscribe("read", .atMostOnce)
        let payload = String(repeating: "y", count: 2000)
        for _ in 0..<40 { self.publisher.publish("read", payload) }
        #expect(reader.takePayloads().count == 40)
    }

    @Test(arguments: [true, false])
    func regressionItReturnsWhenTheClientHasGoneMeanwhile(disconnects: Bool) {
        for _ in 0..<30 {
            let client = self.harness.client("held")
            client.connect(clean: false, expiry: 100)
            client.subscribe("held", .exactlyOnce)
            client.takeAll()
            self.publishHeld(to: client)
            if disconnects { client.disconnect(expiry: 0) } else { client.drop() }
            self.harness.commitsAtOnce = true
            self.harness.commit()
            self.harness.flush()
            self.publisher.takeAll()
            let again = self.harness.client("held")
            again.connect(clean: true)
            again.disconnect()
        }
        self.readerGetsAll()
    }

    @Test func regressionItReturnsWhenTheClientHasAnsweredWhatItWasNotSent() throws {
        let client = self.harness.client("held")
        client.connect(clean: false, expiry: 100)
        client.subscribe("held", .exactlyOnce)
        client.takeAll()
        client.acknowledges = false
        for _ in 0..<30 {
            self.publishHeld(to: client)
            let index = try #require(self.harness.core.sessionsByClient[Array("held".utf8)])
            let session = try #require(self.harness.core.sessions[Int(index)])
            let identifier = AcknowledgementPacket(
                packetIdentifier: try #require(session.inflight.identifiersInOrder().first)
            )
            client.send(.pubrec(identifier))
            self.harness.commitsAtOnce = true
            self.harness.commit()
            self.harness.flush()
            client.send(.pubcomp(identifier))
            self.harness.flush()
            client.takeAll()
            self.publisher.takeAll()
        }
        self.readerGetsAll()
    }
}
