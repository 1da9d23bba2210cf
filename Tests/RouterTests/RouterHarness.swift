import Common
import RouterStore
import TestSupport
import Testing

@testable import Router

/// A router core with listeners of no more than a few lines: clients send packets, and look at what came back.
final class RouterHarness {
    final class FakeListener {
        let index: Int
        var nextSlot: UInt64 = 0
        var freeSlots: [UInt64] = []
        var generations: [UInt64: UInt64] = [:]
        var clients: [UInt64: FakeClient] = [:]
        /// PUBLISH bytes that came down and for which credit was not returned.
        var heldLinkCredit = 0
        var returnsLinkCredit = true
        /// The link's credit for what clients do not return is not returned either, as a listener does.
        var keepsUnread = false
        /// Off: it takes nothing, as one that is stopped.
        var isThere = true
        /// Credit that the router returned.
        var publishCredit = 0
        var multicastFrames = 0
        var goneSessions: [UInt64] = []
        var isAskedToDrain = false
        /// On: what is sent comes nowhere, as in the socket of a router that is killed.
        var isUplinkLost = false
        /// On: the router is killed when it has written `sessionAccepted`; what comes behind it, and everything else, is lost.
        var isLostAfterAccepted = false
        var deliverFrames = 0
        /// QoS 2 messages that came with what they are called.
        var unstoredExchanges = 0
        /// As of `DeliveredExchanges`.
        var marks: UInt64 = 0

        init(index: Int) {
            self.index = index
        }

        /// The same process, with another router.
        func takeOver(_ former: FakeListener) {
            self.nextSlot = former.nextSlot
            self.freeSlots = former.freeSlots
            self.generations = former.generations
            self.clients = former.clients
            self.marks = former.marks
        }

        func takeHandle() -> UInt64 {
            let slot: UInt64
            if let free = self.freeSlots.popLast() {
                slot = free
            } else {
                slot = self.nextSlot
                self.nextSlot += 1
            }
            let generation = self.generations[slot, default: 0] + 1
            self.generations[slot] = generation
            return generation << 32 | slot
        }

        func give(back handle: UInt64) {
            self.clients[handle] = nil
            self.freeSlots.append(handle & 0xFFFF_FFFF)
        }
    }

    var core: RouterCore
    var now: Instant = 1_000 * Nanoseconds.perSecond
    private(set) var listeners: [FakeListener] = []
    private var stamp: UInt64 = 0
    private let packetPartBytes: Int
    private let workPerTurn: UInt64
    /// Of the router.
    let bootID = (0..<16).map { _ in UInt8.random(in: 0...255) }
    private var problems: [String] = []

    /// Where the core's changes go; nil: nowhere.
    private var store: StoreFile?
    /// Off: changes wait for `commit`.
    var commitsAtOnce = true
    /// On: commits fail. What they were to store waits for the next one, and is lost with the router.
    var isDiskFull = false
    private var unstored: [(group: UInt64, records: [UInt8])] = []
    /// What the next router gets of packets that are under way.
    private(set) var keptPackets: [UInt64: Message] = [:]

    /// With a store of its own, without the durability that power losses need.
    convenience init(storedIn directory: TemporaryDirectory) throws {
        self.init(store: try StoreFile(path: directory.file("store.db"), survivesPowerLoss: false))
    }

    init(
        store: StoreFile? = nil,
        now: Instant? = nil,
        packetPartBytes: Int = Limits.packetPartBytes,
        workPerTurn: UInt64 = RouterLimits.workPerTurn,
        _ configure: (inout Configuration) -> Void = { _ in }
    ) {
        self.packetPartBytes = packetPartBytes
        self.workPerTurn = workPerTurn
        var configuration = Configuration()
        // Nothing happens on its own unless a test asks for it.
        configuration.mqtt.sysIntervalNanoseconds = 0
        configure(&configuration)
        self.core = RouterCore(
            configuration: configuration,
            seed: 42,
            packetPartBytes: packetPartBytes,
            workPerTurn: workPerTurn
        )
        self.store = store
        if let now { self.now = now }
        guard let store else { return }
        // The wall clock goes on while no router runs: as `now` here.
        self.core.storeOffset = Self.storeOffset
        do {
            try self.core.restore(from: store, now: self.now)
        } catch {
            Issue.record("the store cannot be restored: \(error)")
        }
    }

    static let storeOffset: UInt64 = 1_700_000_000 * Nanoseconds.perSecond

    /// Commits all changes made up to now, and tells the core; on a full disk it tells it that.
    func commit() {
        guard let store = self.store else { return }
        while true {
            if let changes = self.core.takeChanges() { self.unstored.append(changes) }
            guard let last = self.unstored.last else { return }
            guard !self.isDiskFull else { return self.core.storeIsInTrouble(true) }
            do {
                try store.append(self.unstored.map(\.records))
            } catch {
                Issue.record("a commit failed: \(error)")
            }
            self.unstored = []
            self.core.storeIsInTrouble(false)
            self.core.committed(upTo: last.group, now: self.now)
        }
    }

    /// kill -9, which loses what was not committed, and a new start on the same file `seconds` later.
    func restart(
        _ path: String,
        after seconds: UInt64 = 0,
        _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> RouterHarness {
        for listener in self.listeners {
            for client in listener.clients.values { client.isOpen = false }
        }
        self.store = nil
        let store = try StoreFile(path: path, survivesPowerLoss: false)
        let harness = RouterHarness(store: store, now: self.now + seconds * Nanoseconds.perSecond, configure)
        harness.stamp = self.stamp
        return harness
    }

    /// kill -9 of the router alone, and a new start: the listeners live, with their connections.
    /// - Parameter attaches: false: the listeners are connected, and have said nothing.
    func replaceRouter(
        _ path: String,
        after seconds: UInt64 = 0,
        attaches: Bool = true,
        sessionCredit: Int = 256 << 10
    ) throws -> RouterHarness {
        self.store = nil
        let store = try StoreFile(path: path, survivesPowerLoss: false)
        let harness = RouterHarness(
            store: store,
            now: self.now + seconds * Nanoseconds.perSecond,
            packetPartBytes: self.packetPartBytes,
            workPerTurn: self.workPerTurn
        )
        harness.stamp = self.stamp
        harness.keptPackets = self.keptPackets
        harness.core.restorePackets(self.keptPackets, now: harness.now)
        for listener in self.listeners {
            let again = harness.addListener(sessionCredit: sessionCredit)
            again.takeOver(listener)
            guard attaches else { continue }
            for (_, client) in again.clients.sorted(by: { $0.key < $1.key }) { client.attach(to: harness, again) }
        }
        return harness
    }

    /// The router's listeners take what is written for them; nothing is committed.
    func handOver(to listeners: [FakeListener]) {
        self.core.endTurn(now: self.now)
        for listener in listeners {
            var output = ByteBuffer()
            self.keepPackets()
            self.core.takeOutput(of: listener.index, into: &output)
            self.core.handedOver(listener.index, turn: self.core.turn)
            self.take(output, for: listener)
        }
        self.core.releaseHeld()
    }

    @discardableResult
    func addListener(
        sessionCredit: Int = 256 << 10,
        linkCredit: Int = 64 << 20,
        wireVersion: UInt8 = LinkHello.wireVersionMax,
        features: LinkHello.Features = .all
    ) -> FakeListener {
        let hello = LinkHello(
            role: .listener,
            bootID: [UInt8](repeating: UInt8(self.listeners.count), count: 16),
            name: Array("listener-\(self.listeners.count + 1)".utf8),
            sessionCreditBytes: UInt32(sessionCredit),
            linkCreditBytes: UInt32(linkCredit),
            wireVersionMax: wireVersion,
            features: features
        )
        let listener = FakeListener(index: self.core.linkUp(peer: hello, now: self.now))
        self.listeners.append(listener)
        return listener
    }

    /// The first listener, made when it is asked for first.
    var listener: FakeListener { self.listeners.first ?? self.addListener() }

    func client(_ name: String = "", _ version: ProtocolVersion = .v5_0, on listener: FakeListener? = nil) -> FakeClient
    {
        FakeClient(self, listener ?? self.listener, name, version)
    }

    func removeListener(_ listener: FakeListener) {
        self.core.linkDown(listener.index, now: self.now)
        for client in listener.clients.values { client.isOpen = false }
        listener.clients = [:]
        self.flush()
    }

    /// The link breaks, and the listener comes back to the same router with its connections. What was on the way down is lost.
    func breakLink(_ listener: FakeListener, sessionCredit: Int = 256 << 10) -> FakeListener {
        self.core.linkDown(listener.index, now: self.now)
        self.listeners.removeAll { $0 === listener }
        let again = self.addListener(sessionCredit: sessionCredit)
        again.takeOver(listener)
        for (_, client) in again.clients.sorted(by: { $0.key < $1.key }) { client.attach(to: self, again) }
        self.flush()
        return again
    }

    /// What is written for a listener gets into its socket, and is never read.
    func loseOutput(of listener: FakeListener) {
        self.core.endTurn(now: self.now)
        var lost = ByteBuffer()
        self.keepPackets()
        self.core.takeOutput(of: listener.index, into: &lost)
        self.core.handedOver(listener.index, turn: self.core.turn)
        self.core.releaseHeld()
    }

    func nextStamp() -> UInt64 {
        self.stamp += 1
        return self.stamp
    }

    func pass(seconds: Double) {
        self.now += UInt64(seconds * Double(Nanoseconds.perSecond))
        while let deadline = self.core.nextDeadline, deadline <= self.now { self.core.timePassed(now: self.now) }
        self.flush()
    }

    // MARK: Frames

    /// The listener says that it has sent everything.
    func drain() {
        var drained = ByteBuffer()
        drained.writeFrameHeader(.linkDrained, handle: 0, bodyBytes: 0)
        self.deliver(drained, from: self.listener)
    }

    /// Hands frames to the core, without the end of the turn.
    func deliver(_ frames: borrowing ByteBuffer, from listener: FakeListener) {
        guard !listener.isUplinkLost else { return }
        var offset = 0
        while case .frame(let frame) = FrameReader.frame(in: frames.readable, at: offset) {
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            if let problem = self.core.received(frame, on: listener.index, now: self.now) {
                Issue.record("the core closed the link: \(problem)")
            }
        }
    }

    /// What of packets that are under way is kept outside of the process.
    private func keepPackets() {
        for change in self.core.takePacketChanges() {
            switch change {
            case .keep(let session, let message):
                self.keptPackets[session] = Message.make(payload: message.view.payload)
            case .drop(let session):
                self.keptPackets[session] = nil
            }
        }
    }

    var hasWork: Bool { self.core.hasWork }

    /// Ends turns until nothing moves any more.
    func flush() {
        for _ in 0..<10_000 {
            self.core.endTurn(now: self.now)
            if self.commitsAtOnce { self.commit() }
            var moved = self.core.hasWork
            for listener in self.listeners where listener.isThere {
                var output = ByteBuffer()
                self.keepPackets()
                self.core.takeOutput(of: listener.index, into: &output)
                self.core.handedOver(listener.index, turn: self.core.turn)
                if output.isEmpty { continue }
                moved = true
                self.take(output, for: listener)
            }
            if self.core.waitsForHandOver {
                self.core.releaseHeld()
                for listener in self.listeners where listener.isThere && self.core.hasOutput(listener.index) {
                    moved = true
                }
            }
            if !moved { return }
        }
        Issue.record("the router never comes to rest")
    }

    private func take(_ output: borrowing ByteBuffer, for listener: FakeListener) {
        var offset = 0
        var credits: [(handle: UInt64, bytes: UInt32)] = []
        while offset < output.readableBytes {
            guard case .frame(let frame) = FrameReader.frame(in: output.readable, at: offset) else {
                Issue.record("broken frame from the router")
                return
            }
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            self.take(frame, listener, &credits)
            if listener.isLostAfterAccepted, frame.kind == .sessionAccepted {
                listener.isUplinkLost = true
                listener.isThere = false
                return
            }
        }
        self.returnCredit(listener, credits)
    }

    func returnCredit(_ listener: FakeListener, _ credits: [(handle: UInt64, bytes: UInt32)]) {
        let unread = listener.keepsUnread ? listener.clients.values.reduce(0) { $0 + $1.heldCredit } : 0
        let linkBytes = listener.returnsLinkCredit ? max(0, listener.heldLinkCredit - unread) : 0
        if linkBytes == 0, credits.isEmpty { return }
        listener.heldLinkCredit -= linkBytes
        var buffer = ByteBuffer()
        CreditFrame.encode(.deliveryCredit, into: &buffer, linkBytes: UInt32(linkBytes), sessions: credits[...])
        self.deliver(buffer, from: listener)
    }

    private func takeMulticast(
        _ frame: Frame,
        _ listener: FakeListener,
        _ credits: inout [(handle: UInt64, bytes: UInt32)]
    ) {
        listener.multicastFrames += 1
        guard let multicast = MulticastFrame(frame.body) else {
            Issue.record("broken multicast")
            return
        }
        for index in 0..<multicast.count {
            var packet = [UInt8](multicast.packet)
            let identifier = multicast.packetIdentifier(at: index)
            if multicast.packetIdentifierOffset > 0 {
                packet[multicast.packetIdentifierOffset] = UInt8(identifier >> 8)
                packet[multicast.packetIdentifierOffset + 1] = UInt8(identifier & 0xFF)
            }
            listener.heldLinkCredit += packet.count
            let handle = multicast.handle(at: index)
            let credit = listener.clients[handle]?.took(packet, debits: true, continues: false) ?? 0
            if credit > 0 { credits.append((handle, UInt32(credit))) }
        }
    }

    private func takeExchanges(
        _ frame: Frame,
        _ listener: FakeListener,
        _ credits: inout [(handle: UInt64, bytes: UInt32)]
    ) {
        var exchanges = ExchangeFrame(frame.body)
        listener.heldLinkCredit += exchanges.packetBytes
        var counted = exchanges
        while counted.next() != nil { listener.unstoredExchanges += 1 }
        let returned = listener.clients[frame.handle]?.took(&exchanges) ?? 0
        #expect(!exchanges.isBroken, "a broken frame with exchanges")
        if returned > 0 { credits.append((frame.handle, UInt32(returned))) }
    }

    private func take(_ frame: Frame, _ listener: FakeListener, _ credits: inout [(handle: UInt64, bytes: UInt32)]) {
        switch frame.kind {
        case .sessionDeliver:
            listener.deliverFrames += 1
            guard frame.flags & FrameFlags.hasExchanges == 0 else {
                return self.takeExchanges(frame, listener, &credits)
            }
            let debits = frame.flags & FrameFlags.debitsCredit != 0
            if debits { listener.heldLinkCredit += frame.body.count }
            guard let client = listener.clients[frame.handle] else { return }
            let continues = frame.flags & FrameFlags.packetContinues != 0
            let isStored = frame.flags & FrameFlags.packetIsStored != 0
            let credit = client.took([UInt8](frame.body), debits: debits, continues: continues, isStored: isStored)
            if credit > 0 { credits.append((frame.handle, UInt32(credit))) }
        case .sessionMulticast:
            self.takeMulticast(frame, listener, &credits)
        case .sessionUnstored:
            listener.clients[frame.handle]?.told(isUnstored: SessionUnstored.decode(frame.body) ?? false)
        case .sessionResumed:
            guard let resumed = SessionResumed.decode(frame.body) else {
                Issue.record("broken sessionResumed")
                return
            }
            listener.clients[frame.handle]?.resumed = resumed
        case .sessionAccepted:
            guard let accepted = SessionAccepted.decode(frame.body, flags: frame.flags),
                let client = listener.clients[frame.handle]
            else { return }
            client.accepted(accepted)
            _ = client.took([UInt8](accepted.connack), debits: false, continues: false)
        case .sessionRefused, .sessionClose:
            guard let end = SessionEnd.decode(frame.body), let client = listener.clients[frame.handle] else { return }
            if end.packet.count > 0, !client.isInsidePacket {
                _ = client.took([UInt8](end.packet), debits: false, continues: false)
            }
            client.closeReason = end.reason
            client.isOpen = false
            listener.give(back: frame.handle)
        case .exchangesSettled:
            listener.marks += 1
        case .sessionGone:
            listener.goneSessions.append(frame.handle)
        case .linkClosing:
            listener.isAskedToDrain = true
        case .publishCredit:
            guard let credit = CreditFrame(frame.body) else {
                Issue.record("broken credit")
                return
            }
            listener.publishCredit += Int(credit.linkBytes)
            for index in 0..<credit.count {
                listener.clients[credit.handle(at: index)]?.publishCredit += Int(credit.bytes(at: index))
            }
        default:
            Issue.record("unexpected frame of kind \(frame.header.kind)")
        }
    }
}
