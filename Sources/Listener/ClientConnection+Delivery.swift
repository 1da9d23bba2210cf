import CLinux
import Common

// What the router sends to the client, and the account of what the client has taken of it.
extension ClientConnection {
    func deliver(_ bytes: UnsafeRawBufferPointer, debitsCredit: Bool, continues: Bool, isStored: Bool) {
        guard self.phase == .open else {
            if debitsCredit { self.router.returnLinkCredit(bytes.count) }
            return
        }
        self.output.write(bytes)
        if debitsCredit { self.queued(bytes.count) }
        if let attach = self.uplink?.attach {
            attach.passedDown(bytes, isStored: isStored)
            if self.isBlockedByCredit, !debitsCredit, !attach.unanswered.isFull { self.resumeAfterCredit() }
        }
        self.isInsideDelivery = continues
        if !continues { self.sendOwnPackets() }
        self.markDirty()
    }

    /// A PUBLISH that goes to several sessions: `packetIdentifier` is written over its place.
    func deliver(_ packet: UnsafeRawBufferPointer, packetIdentifier: UInt16, at offset: Int) {
        guard self.phase == .open else { return self.router.returnLinkCredit(packet.count) }
        let start = self.output.readableBytes
        self.output.write(packet)
        if offset > 0 {
            self.output.setBigEndian(packetIdentifier, at: start + offset)
            self.uplink?.attach?.passedDown(firstByte: packet[0], identifier: packetIdentifier)
        }
        self.queued(packet.count)
        self.markDirty()
    }

    @inline(__always)
    func queued(_ bytes: Int) {
        if self.delivery.outstanding == 0 { self.lastTaken = self.service.loop.now }
        self.delivery.queued(bytes)
        self.router.pressure.queued(bytes)
    }

    /// Has the session told of all that its client has taken.
    func reportDelivered() {
        let bytes = self.delivery.report()
        if bytes > 0 { self.router.returnCredit(self.handle, link: 0, session: bytes) }
    }

    /// - Returns: the bytes that nobody waits for any more.
    @discardableResult
    func closeDelivery() -> Int {
        let bytes = self.delivery.close()
        self.router.pressure.released(bytes)
        return bytes
    }

    /// The kernel takes nothing for a slow client for a while, and delivers what it has: that is progress too.
    func noteProgress() {
        let unacknowledged = martlet_unacknowledged_bytes(self.socket.fileDescriptor)
        guard unacknowledged != self.unacknowledgedSeen else { return }
        self.unacknowledgedSeen = unacknowledged
        self.lastTaken = self.service.loop.now
    }

    /// What waits for the client keeps others from getting anything.
    func endsForOthers() {
        self.service.counters.slowClientsClosed += 1
        self.lost("the client does not read, and others wait")
    }
}
