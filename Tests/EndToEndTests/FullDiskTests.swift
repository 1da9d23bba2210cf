import Common
import Glibc
import TestSupport
import Testing

/// A router whose disk is really full: its store is on a file system of four megabytes that nobody else sees.
@Suite struct FullDiskTests {
    /// Mounting takes a name space of its own, which not every user may make.
    private static let canMount = (try? runProcess("unshare", arguments: ["-m", "true"]).status) == 0

    /// Publishes messages of 4 kB until the router says that it cannot store them.
    /// - Returns: those that were acknowledged.
    private static func fillUp(_ broker: TestBroker, _ flooder: TestClient, _ loop: EventLoop) throws -> Set<UInt16> {
        var taken: Set<UInt16> = []
        flooder.onPacket = { packet in
            if case .puback(let ack) = packet, !ack.reasonCode.isFailure { taken.insert(ack.packetIdentifier) }
        }
        var sent: UInt16 = 0
        var asked: Instant = 0
        try loop.wait("a full disk", seconds: 120) {
            if sent < 3000, Int(sent) < taken.count + 20 {
                sent += 1
                let payload = [UInt8(sent >> 8), UInt8(sent & 0xFF)] + [UInt8](repeating: 0x66, count: 4000)
                flooder.publish("t", payload, qos: .atLeastOnce, packetIdentifier: sent)
                return false
            }
            guard Clock.monotonic() > asked + 50 * Nanoseconds.perMillisecond else { return false }
            asked = Clock.monotonic()
            return (try? broker.status(of: "router").contains("alarm_store 1")) ?? false
        }
        #expect(taken.count > 50, "it had room at first")
        return taken
    }

    @Test(.enabled(if: canMount))
    func `promises are refused while the disk is full, the rest goes on, and nothing acknowledged is lost`() throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        broker.router.signal(SIGTERM)
        #expect(try broker.router.waitForExit() == 0)
        let store = broker.directory.file("state/router")
        let mount = "mount -t tmpfs -o size=4m none \(store) && head -c 2000000 /dev/zero > \(store)/filler"
        try broker.startRouter(under: "unshare", ["-m", "/bin/sh", "-c", "\(mount) && exec \"$@\"", "sh"])
        try broker.parkClient(loop)
        let watcher = try broker.plainClient(loop, "watcher")
        #expect(try watcher.subscribe("live", qos: .atMostOnce) == [0])
        var acknowledged = try Self.fillUp(broker, try broker.plainClient(loop, "flooder"), loop)
        #expect(!acknowledged.isEmpty)

        // Who has nothing to be stored notices nothing, and new clients get in.
        let newcomer = try broker.plainClient(loop, "newcomer")
        try broker.expectRefusal(newcomer)
        newcomer.publish("live", Array("still here".utf8))
        #expect(try watcher.nextMessage("QoS 0").payload == Array("still here".utf8))

        #expect(unlink("/proc/\(broker.router.processID)/root\(store)/filler") == 0)
        try loop.wait("the alarm's end", seconds: 60) {
            (try? broker.status(of: "router").contains("alarm_store 0")) ?? false
        }
        newcomer.publish("t", [0xFF, 0xFF], qos: .atLeastOnce, packetIdentifier: 1)
        #expect(try newcomer.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 1)))
        acknowledged.insert(0xFFFF)
        let back = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        #expect(
            try back.connect(clientIdentifier: "parked", cleanStart: false, properties: TestBroker.lasting)
                .sessionPresent
        )
        try Self.waitForAll(acknowledged, back, loop)
    }

    @Test(.enabled(if: canMount), arguments: [SIGKILL, SIGTERM])
    func `a router starts on a full disk, with what was acknowledged`(_ signal: Int32) throws {
        let broker = try TestBroker()
        let loop = try EventLoop()
        broker.router.signal(SIGTERM)
        #expect(try broker.router.waitForExit() == 0)
        let store = broker.directory.file("state/router")
        let mount =
            "mount -t tmpfs -o size=4m none \(store) && head -c 2000000 /dev/zero > \(store)/filler && echo mounted"
        // Keeps the file system while there is no router.
        let holder = try ChildProcess(
            "/usr/bin/unshare",
            arguments: ["-m", "/bin/sh", "-c", "\(mount) && exec sleep 600"],
            name: "holder",
            logFile: broker.directory.file("holder.log")
        )
        try holder.waitForLog("mounted")
        let entering = ["-m", "-t", "\(holder.processID)"]
        try broker.startRouter(under: "nsenter", entering)
        try broker.parkClient(loop)
        let acknowledged = try Self.fillUp(broker, try broker.plainClient(loop, "flooder"), loop)
        let rest = "head -c 4000000 /dev/zero > \(store)/rest; df --output=avail \(store)"
        let (_, left) = try runProcess("/usr/bin/nsenter", arguments: entering + ["/bin/sh", "-c", rest])
        #expect(left.hasSuffix("0\n"), "nothing is left: \(left)")

        broker.router.signal(signal)
        _ = try broker.router.waitForExit()
        try broker.startRouter(under: "nsenter", entering)
        let newcomer = try broker.plainClient(loop, "newcomer")
        #expect(try newcomer.subscribe("live", qos: .atMostOnce) == [0])
        newcomer.publish("live", Array("here".utf8))
        #expect(try newcomer.nextMessage("QoS 0").payload == Array("here".utf8))

        let back = try TestClient(loop: loop, port: broker.plainPort, version: .v5_0)
        let connack = try back.connect(clientIdentifier: "parked", cleanStart: false, properties: TestBroker.lasting)
        #expect(connack.sessionPresent)
        try Self.waitForAll(acknowledged, back, loop)
        for file in ["filler", "rest"] {
            #expect(unlink("/proc/\(holder.processID)/root\(store)/\(file)") == 0)
        }
        try loop.wait("the alarm's end", seconds: 60) {
            (try? broker.status(of: "router").contains("alarm_store 0")) ?? false
        }
        newcomer.publish("t", [0xFF, 0xFF], qos: .atLeastOnce, packetIdentifier: 1)
        #expect(try newcomer.next("PUBACK") == .puback(AcknowledgementPacket(packetIdentifier: 1)))
        broker.router.signal(SIGTERM)
        #expect(try broker.router.waitForExit() == 0)
    }

    /// Acknowledges what comes until those numbers were among it.
    private static func waitForAll(_ numbers: Set<UInt16>, _ client: TestClient, _ loop: EventLoop) throws {
        var came: Set<UInt16> = []
        let take = { (packet: Packet) in
            guard case .publish(let publish) = packet else { return }
            came.insert(UInt16(publish.payload[0]) << 8 | UInt16(publish.payload[1]))
            client.send(.puback(AcknowledgementPacket(packetIdentifier: publish.packetIdentifier)))
        }
        // Some came with the CONNACK.
        client.received.forEach(take)
        client.onPacket = take
        try loop.wait("what was acknowledged", seconds: 60) { numbers.isSubset(of: came) }
    }
}
