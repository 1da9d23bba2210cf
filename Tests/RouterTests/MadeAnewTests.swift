import Common
import RouterStore
import TestSupport
import Testing

@testable import Listener
@testable import Router

/// Sessions that end with their connections and have nothing that would have to be stored: the next router makes them anew.
@Suite struct MadeAnewTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("router.db")
    }

    private func start() throws -> RouterHarness {
        RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
    }

    private func texts(_ client: FakeClient) -> [String] {
        client.takePublishes().map { String(decoding: $0.payload, as: UTF8.self) }
    }

    @Test func theConnackDoesNotWaitForTheDisk() throws {
        let harness = try self.start()
        harness.commitsAtOnce = false
        #expect(harness.client("passing").connect(clean: true) != nil)
        #expect(harness.client("lasting").connect(clean: false, expiry: 60) == nil)
        let will = ConnectPacket.Will(qos: .atMostOnce, retain: false, topic: Array("t".utf8), payload: [])
        #expect(harness.client("with a will").connect(clean: true, will: will) == nil)
        harness.client("another").connect(clean: true)
        #expect(
            harness.client("another", on: harness.addListener()).connect(clean: true) == nil,
            "one was there before"
        )
    }

    @Test func nothingIsStoredUntilSomethingHasToBe() throws {
        let store = try StoreFile(path: self.path, survivesPowerLoss: false)
        let harness = RouterHarness(store: store)
        let device = harness.client("device")
        device.connect(clean: true)
        #expect(device.publish("t", "1", .atLeastOnce) == .noMatchingSubscribers)
        device.drop()
        store.noteCommitted()
        #expect(store.changedEntries == 0)
        device.connect(clean: true)
        device.subscribe("t")
        store.noteCommitted()
        #expect(store.changedEntries == 2)
    }

    @Test(arguments: [QoS.atMostOnce, .atLeastOnce, .exactlyOnce])
    func itGoesOnWithTheNextRouterAndTheOneAfter(_ qos: QoS) throws {
        var harness = try self.start()
        let reader = harness.client("reader")
        reader.connect(clean: false, expiry: 3600)
        reader.subscribe("t", .exactlyOnce)
        let device = harness.client("device", on: harness.addListener())
        device.connect(clean: true)
        for round in 1...3 {
            harness = try harness.replaceRouter(self.path)
            harness.flush()
            #expect(device.isOpen)
            device.publish("t", "\(round)", qos)
            #expect(self.texts(reader) == ["\(round)"])
        }
        device.subscribe("u", .exactlyOnce)
        harness = try harness.replaceRouter(self.path)
        harness.flush()
        reader.publish("u", "after", .atLeastOnce)
        #expect(self.texts(device) == ["after"])
        harness.pass(seconds: 10)
        #expect(device.isOpen && harness.core.sessionCount == 2)
        device.drop()
        #expect(harness.core.sessionCount == 1)
    }

    /// It would seem to be subscribed, and get nothing.
    @Test func afterASubackOnlyTheStoreKnowsIt() throws {
        let harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: true)
        device.subscribe("t")
        let next = RouterHarness(store: try StoreFile(path: self.directory.file("other.db"), survivesPowerLoss: false))
        let listener = next.addListener()
        listener.takeOver(harness.listeners[0])
        device.attach(to: next, listener)
        next.flush()
        #expect(!device.isOpen)
    }

    @Test(arguments: [false, true]) func ofTwoConnectionsTheNewerGoesOn(_ newerFirst: Bool) throws {
        let harness = try self.start()
        let (first, second) = (harness.addListener(), harness.addListener())
        let former = harness.client("device", on: first)
        former.connect(clean: true, stamp: 5)
        former.drop()
        let newer = harness.client("device", on: second)
        newer.connect(clean: true, stamp: 6)
        let next = try harness.replaceRouter(self.path, attaches: false)
        next.listeners[0].takeOver(first)
        next.listeners[1].takeOver(second)
        // A listener that does not know yet that its connection is gone.
        former.isOpen = true
        next.listeners[0].clients[former.handle] = former
        let order = newerFirst ? [(newer, 1), (former, 0)] : [(former, 0), (newer, 1)]
        for (client, place) in order {
            client.attach(to: next, next.listeners[place])
            next.flush()
        }
        #expect(newer.isOpen && !former.isOpen)
        #expect(next.core.connectedCount == 1 && next.core.sessionCount == 1)
    }

    /// Two entries of the store under one key.
    @Test func aNumberThatAnotherSessionHasIsRefused() throws {
        let harness = try self.start()
        let device = harness.client("device")
        device.connect(clean: true)
        let number = try #require(device.attach?.sessionNumber)
        let impostor = harness.client("impostor")
        impostor.connect(clean: true)
        let open = try #require(impostor.lastOpen)
        impostor.drop()
        let told = SessionAttach(
            sessionNumber: number,
            clientIdentifier: Array("impostor".utf8),
            open: open,
            canBeMadeAnew: true
        )
        var frame = ByteBuffer()
        told.encode(into: &frame, handle: 7 << 32 | 9)
        harness.deliver(frame, from: harness.listener)
        harness.flush()
        #expect(harness.core.sessionCount == 1 && harness.core.counters.attachesRefused == 1)
        #expect(device.isOpen)
    }
}
