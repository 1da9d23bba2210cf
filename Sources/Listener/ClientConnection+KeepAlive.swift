import Common

// The keep alive counts control packets ([MQTT-3.1.2-22]), and of one on its way what shows that it moves: a large one over a slow modem may
// take longer than the keep alive.
extension ClientConnection {
    var keepAliveDeadline: Instant {
        self.keepAliveNanoseconds == 0 ? .max : self.lastAlive &+ self.keepAliveNanoseconds
    }

    /// So many bytes came.
    func heard(_ count: Int) {
        self.bytesSinceAlive += count
        // Without a router nobody looks for the ends of packets.
        if self.bytesSinceAlive >= Limits.keepAlivePacketBytes || self.router.link == nil { self.isAlive() }
    }

    /// A packet was complete, or moves.
    func isAlive() {
        self.lastAlive = self.service.loop.now
        self.bytesSinceAlive = 0
    }
}
