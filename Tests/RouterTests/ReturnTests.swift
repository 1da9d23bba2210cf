import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// Clients that left and came back while no router ran: what counts is when their listener had their CONNECT.
@Suite struct ReturnTests {
    private let path: String
    private let directory: TemporaryDirectory

    init() throws {
        self.directory = try TemporaryDirectory()
        self.path = self.directory.file("store.db")
    }

    /// Two seconds after `device` was lost its will is due, after `expiry` its session is over.
    private func start(expiry: UInt32) throws -> (RouterHarness, watcher: FakeClient, device: FakeClient) {
        let harness = RouterHarness(store: try StoreFile(path: self.path, survivesPowerLoss: false))
        let watcher = harness.client("watcher")
        watcher.connect(clean: false, expiry: 3600)
        watcher.subscribe("w")
        let device = harness.client("device", on: harness.addListener())
        var will = ConnectPacket.Will(
            qos: .atLeastOnce,
            retain: false,
            topic: Array("w".utf8),
            payload: Array("gone".utf8)
        )
        will.properties.willDelayInterval = 2
        device.connect(clean: false, expiry: expiry, will: will)
        return (harness, watcher, device)
    }

    /// What a CONNECT bears that waited for so long.
    private func stamp(_ harness: RouterHarness, secondsAgo: Double) -> UInt64 {
        let age = UInt64(bitPattern: Int64(secondsAgo * Double(Nanoseconds.perSecond)))
        return harness.now &+ harness.core.bootOffset &- age
    }

    /// - Returns: what the CONNACK says, and the wills that were published, also later.
    private func comeBack(
        _ harness: RouterHarness,
        _ watcher: FakeClient,
        on listener: RouterHarness.FakeListener? = nil,
        stamp: UInt64
    ) -> (isPresent: Bool?, wills: [String]) {
        let again = harness.client("device", on: listener)
        let isPresent = again.connect(clean: false, expiry: 3600, stamp: stamp)?.sessionPresent
        harness.pass(seconds: 20)
        return (isPresent, watcher.takePayloads())
    }

    /// The end of the connection is told first, by the listener that has the CONNECT or by another one.
    @Test(arguments: [UInt32(2), 3600], [false, true])
    func aConnectThatWaitedIsInTime(_ expiry: UInt32, _ comesElsewhere: Bool) throws {
        var (harness, watcher, device) = try self.start(expiry: expiry)
        harness = try harness.replaceRouter(self.path, after: 4, attaches: false)
        harness.core.bootOffset = 500 * Nanoseconds.perSecond
        watcher.attach(to: harness, harness.listeners[0])
        device.attach(to: harness, harness.listeners[1])
        device.drop(secondsAgo: 4)
        // Another listener may be heard of later.
        if comesElsewhere { harness.pass(seconds: 1.5) }
        let waited = comesElsewhere ? 5.2 : 3.7
        let listener = harness.listeners[comesElsewhere ? 0 : 1]
        let back = self.comeBack(harness, watcher, on: listener, stamp: self.stamp(harness, secondsAgo: waited))
        #expect(back == (true, []))
    }

    /// The end of the connection is in the store, or is told only when the client is back.
    @Test(arguments: [UInt32(2), 3600], [false, true])
    func aConnectThatWaitedMayBeHeardOfFirst(_ expiry: UInt32, _ isStored: Bool) throws {
        var (harness, watcher, device) = try self.start(expiry: expiry)
        if isStored { device.drop() }
        harness = try harness.replaceRouter(self.path, after: 4, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        let again = harness.client("device")
        let stamp = self.stamp(harness, secondsAgo: 3.7)
        #expect(again.connect(clean: false, expiry: 3600, stamp: stamp)?.sessionPresent == true)
        if !isStored {
            device.attach(to: harness, harness.listeners[1])
            device.drop(secondsAgo: 4)
        }
        harness.pass(seconds: 20)
        #expect(watcher.takePayloads() == [])
        #expect(again.isOpen)
    }

    /// The will was due, and its session was not over.
    @Test func aConnectThatWaitedMayBeInTimeForTheSessionAlone() throws {
        var (harness, watcher, device) = try self.start(expiry: 4)
        device.drop()
        harness = try harness.replaceRouter(self.path, after: 6, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        let back = self.comeBack(harness, watcher, stamp: self.stamp(harness, secondsAgo: 3))
        #expect(back == (true, ["gone"]))
    }

    /// Too late, or with a stamp that no listener means: it comes when it is read.
    @Test(arguments: [1.9, -0.001, -1e6, 10.1, 900], [false, true])
    func aConnectThatCameTooLateFindsNoSession(_ secondsAgo: Double, _ isStored: Bool) throws {
        var (harness, watcher, device) = try self.start(expiry: 2)
        if isStored { device.drop() }
        harness = try harness.replaceRouter(self.path, after: isStored ? 20 : 4, attaches: false)
        watcher.attach(to: harness, harness.listeners[0])
        if !isStored {
            device.attach(to: harness, harness.listeners[1])
            device.drop(secondsAgo: 20)
        }
        let back = self.comeBack(harness, watcher, stamp: self.stamp(harness, secondsAgo: secondsAgo))
        #expect(back == (false, ["gone"]))
    }

    @Test(arguments: [0, 7, UInt64.max], [0, 1, 5_000 * Nanoseconds.perSecond, UInt64.max])
    func noStampDoesHarm(_ stamp: UInt64, _ offset: UInt64) throws {
        var (harness, watcher, device) = try self.start(expiry: 2)
        device.drop()
        harness = try harness.replaceRouter(self.path, after: 4, attaches: false)
        harness.core.bootOffset = offset
        watcher.attach(to: harness, harness.listeners[0])
        let back = self.comeBack(harness, watcher, stamp: stamp)
        #expect(back == (false, ["gone"]))
    }
}
