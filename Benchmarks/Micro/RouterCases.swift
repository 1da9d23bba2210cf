import BenchmarkSupport
import Common
import Router
import RouterStore

enum RouterCases {
    private static let bootID = [UInt8](repeating: 9, count: 16)

    /// Messages through the router's machine, frames in and frames out, one publisher to one or several subscribers; a turn has 64.
    /// An iteration is a delivery.
    /// - Parameters:
    ///   - store: where changes are committed at the end of each turn; nil: nothing is stored.
    ///   - turnNanoseconds: how long each takes; clients answer in the next one.
    static func route(
        _ iterations: Int,
        qos: QoS,
        receivers: Int = 1,
        otherFilters: Int = 0,
        lasts: Bool = false,
        store: StoreFile? = nil,
        turnNanoseconds: UInt64 = 100_000
    ) throws {
        var settings = SessionDriver.Settings()
        settings.pairs = 1
        settings.receivers = receivers
        settings.qos = qos
        settings.otherFilters = otherFilters
        settings.lasts = lasts
        let driver = SessionDriver(settings)
        var configuration = Configuration()
        configuration.mqtt.sysIntervalNanoseconds = 0
        configuration.mqtt.session.maxSubscriptions = 1_000_000
        configuration.mqtt.session.maxSubscriptionBytes = 1 << 30
        var core = RouterCore(configuration: configuration, seed: 42)
        let hello = LinkHello(
            role: .listener,
            bootID: Self.bootID,
            name: Array("listener-1".utf8),
            sessionCreditBytes: 256 << 10,
            linkCreditBytes: 64 << 20
        )
        var now: Instant = Nanoseconds.perSecond
        if let store { try core.restore(from: store, now: now) }
        let link = core.linkUp(peer: hello, now: now)
        var up = ByteBuffer()
        var down = ByteBuffer()
        func turn() throws {
            now += turnNanoseconds
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: up.readable, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                let problem = core.received(frame, on: link, now: now)
                precondition(problem == nil, "the router does not understand the driver")
            }
            up.clear()
            core.endTurn(now: now)
            while let (group, records) = core.takeChanges() {
                try store?.append([records])
                core.committed(upTo: group, now: now)
            }
            core.takeOutput(of: link, into: &down)
            core.handedOver(link, turn: core.turn)
            if core.waitsForHandOver { core.releaseHeld() }
            core.takeOutput(of: link, into: &down)
            offset = 0
            while case .frame(let frame) = FrameReader.frame(in: down.readable, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                driver.take(frame, &up)
            }
            down.clear()
            driver.endTurn(into: &up)
        }
        driver.open(into: &up)
        while !driver.isReady { try turn() }
        while driver.delivered < iterations {
            driver.publish(into: &up)
            try turn()
        }
    }
}
