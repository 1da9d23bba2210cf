import Common

/// The router's side of a link to one listener: which session each handle means, what is to be written, and credit both ways.
final class RouterLink {
    /// What the low half of a handle names.
    struct Slot: BitwiseCopyable {
        static var noSession: UInt32 { UInt32.max }

        /// The high half of the handle in force.
        var generation: UInt32
        var session: UInt32 = Slot.noSession
        /// Of a session that we closed in the middle of a packet: bytes of that packet still to come.
        var bytesToDiscard: UInt32 = 0
        var discardReturnsCredit = false
    }

    static let noHandle = UInt64.max

    let index: Int
    let peer: LinkHello
    /// Frames for the listener.
    var output = ByteBuffer()
    var slots: [Slot] = []
    /// Sessions connected through this link.
    var sessionCount = 0

    /// PUBLISH bytes that may still go down; below zero after the message that used it up.
    var credit: Int
    /// Sessions that have something to send and wait for `credit`.
    var waiting = SessionRing()

    /// Bytes of packets that use credit that came up since credit was last returned.
    var consumedBytes = 0
    /// Sessions whose credit is returned at the end of the turn.
    var creditReturns: [UInt32] = []

    /// Bytes of packets that have arrived in part.
    var partialInputBytes = 0

    // The `sessionDeliver` frame at the end of `output`, which the next packets for the same session join.
    private var deliverHandle = RouterLink.noHandle
    private var deliverFlags: UInt8 = 0
    private var deliverStart = 0
    private var deliverEnd = -1

    init(index: Int, peer: LinkHello) {
        self.index = index
        self.peer = peer
        self.credit = Int(peer.linkCreditBytes)
    }

    /// The place that a handle names, if the handle is the one in force there.
    func slot(of handle: UInt64) -> Int? {
        let slot = Int(truncatingIfNeeded: handle & 0xFFFF_FFFF)
        guard slot < self.slots.count, self.slots[slot].generation == UInt32(truncatingIfNeeded: handle >> 32) else {
            return nil
        }
        return slot
    }

    /// Makes room for `bytes` of packets for one session: in the frame at the end if that is the session's, else in a new one.
    /// The caller writes exactly that many bytes to `output`.
    @inline(__always)
    func beginDeliver(handle: UInt64, flags: UInt8, bytes: Int) {
        let end = self.output.readableBytes
        if self.deliverHandle == handle, self.deliverEnd == end, self.deliverFlags == flags {
            let body = end - self.deliverStart - FrameHeader.byteCount + bytes
            if body <= Limits.packetPartBytes {
                self.output.setLittleEndian(UInt32(truncatingIfNeeded: body), at: self.deliverStart)
                self.deliverEnd = end + bytes
                return
            }
        }
        self.output.writeFrameHeader(.sessionDeliver, flags: flags, handle: handle, bodyBytes: bytes)
        self.deliverHandle = flags & FrameFlags.packetContinues == 0 ? handle : Self.noHandle
        self.deliverFlags = flags
        self.deliverStart = end
        self.deliverEnd = self.output.readableBytes + bytes
    }

    /// Moves what is to be written to the end of `target`.
    func takeOutput(_ target: inout ByteBuffer) {
        self.deliverHandle = Self.noHandle
        self.deliverEnd = -1
        if target.isEmpty {
            swap(&target, &self.output)
        } else {
            target.write(self.output.readable)
        }
        self.output.clear()
        if self.output.capacity > 1 << 20 { self.output.releaseIfEmpty() }
    }
}

/// A queue of session numbers.
struct SessionRing {
    private var items: [UInt32] = []
    private var head = 0

    var isEmpty: Bool { self.head == self.items.count }
    var count: Int { self.items.count - self.head }

    mutating func append(_ session: UInt32) {
        self.items.append(session)
    }

    mutating func popFirst() -> UInt32? {
        guard self.head < self.items.count else { return nil }
        let session = self.items[self.head]
        self.head += 1
        if self.head == self.items.count {
            self.items.removeAll(keepingCapacity: self.items.count < 1024)
            self.head = 0
        } else if self.head > 1024, self.head * 2 > self.items.count {
            self.items.removeFirst(self.head)
            self.head = 0
        }
        return session
    }
}
