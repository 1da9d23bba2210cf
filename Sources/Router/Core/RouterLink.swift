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

        mutating func discard(restOf partial: Session.PartialInput) {
            self.bytesToDiscard = UInt32(truncatingIfNeeded: max(0, partial.packetBytes - partial.bytes.count))
            self.discardReturnsCredit = partial.usesCredit
        }
    }

    static var noHandle: UInt64 { UInt64.max }
    // Constants of other modules are read through calls: the ones of the hot path are kept here.
    private static var headerBytes: Int { 16 }
    private static var deliverKind: UInt8 { 0x32 }
    private static var frameBodyBytesMax: Int { 4 << 20 }
    private let partBytes = Limits.packetPartBytes

    let index: Int
    let peer: LinkHello
    /// The listener knows of exchanges.
    let takesExchanges: Bool
    /// Frames for the listener.
    var output = ByteBuffer()
    var slots: [Slot] = []
    /// Sessions connected through this link.
    var sessionCount = 0

    /// PUBLISH bytes that may still go down; below zero after the message that used it up.
    var credit: Int
    /// Sessions that have something to send and wait for `credit`.
    var waiting = SessionRing()
    /// Sessions that have something to send and as much under way as is theirs while the link's credit is short: see `admits`.
    var heldBack = SessionRing()
    /// The lowest credit since those were looked through.
    private var heldBackMark = Int.max
    /// With more credit than this each session may use all of its own.
    private let ampleCredit: Int
    private let sessionCredit: Int

    /// Bytes of packets that use credit that came up since credit was last returned.
    var consumedBytes = 0
    /// Sessions whose credit is returned at the end of the turn.
    var creditReturns: [UInt32] = []

    /// Stands for the link in sets of links.
    let bit: UInt64
    /// What was written up to the end of this turn is with the listener.
    var handedTurn: UInt64
    /// It has sent everything, because we stop.
    var isDrained = false

    /// The session whose DISCONNECT came last, and its handle, until its listener says that the connection is gone.
    var disconnected: (handle: UInt64, session: Session)?

    /// What waits for a commit, in order.
    var held: [HeldAnswer] = []

    /// Of `UnfinishedPackets`, those that are written to their end, and in which turn.
    var writtenPackets: [(turn: UInt64, packet: UnfinishedPackets.Reference)] = []

    /// Packets that have arrived in part.
    var partialInputs = PartialInputs()
    /// Of `UnfinishedFilters`, as they count: at most as many as of packets in part.
    var unfinishedFilterBytes = 0
    /// When clients were read no further last because their credit was not returned.
    var heldBackAt: Instant?

    // The `sessionDeliver` frame at the end of `output`, which the next packets for the same session join.
    private var deliverHandle = RouterLink.noHandle
    private var deliverFlags: UInt8 = 0
    private var deliverStart = 0
    private var deliverEnd = -1

    init(index: Int, peer: LinkHello, turn: UInt64) {
        self.index = index
        // Links beyond share the last one, and wait for each other.
        self.bit = 1 << UInt64(min(index, 63))
        self.handedTurn = turn
        self.peer = peer
        self.takesExchanges = peer.takesExchanges
        self.credit = Int(peer.linkCreditBytes)
        self.sessionCredit = Int(peer.sessionCreditBytes)
        self.ampleCredit = peer.features.contains(.promptCredit) ? Int(peer.linkCreditBytes) / 2 : 0
        precondition(
            Self.headerBytes == FrameHeader.byteCount && Self.deliverKind == FrameKind.sessionDeliver.rawValue
                && Self.frameBodyBytesMax == Limits.frameBodyBytesMax,
            "a copied constant differs from its original"
        )
    }

    // MARK: Credit

    /// Whether a session with so much credit of its own may send.
    ///
    /// Clients that do not read keep what was sent to them under way for ever. As long as half of the link's credit is left each session
    /// may have all of its own under way; then less, in proportion to what is left. So they never use it up, however many they are, and
    /// whoever reads goes on: of a link's credit B, n clients that read nothing leave B / (1 + n · 2 · session credit / B).
    @inline(__always)
    func admits(_ sessionCredit: Int) -> Bool {
        guard self.credit <= self.ampleCredit else { return sessionCredit > 0 }
        return self.admitsWhenShort(sessionCredit)
    }

    private func admitsWhenShort(_ sessionCredit: Int) -> Bool {
        // The listener tells late what its clients have taken: nothing follows from a session's credit but that it has some.
        guard self.ampleCredit > 0 else { return sessionCredit > 0 && self.credit > 0 }
        return self.allowance(sessionCredit) > 0
    }

    /// Bytes that a session may send while the link's credit is short; without limit otherwise.
    func allowance(_ sessionCredit: Int) -> Int {
        guard self.credit <= self.ampleCredit else { return .max }
        let share = FairShare.of(self.sessionCredit, free: self.credit, whole: Int(self.peer.linkCreditBytes))
        return sessionCredit - self.sessionCredit + min(self.sessionCredit, share)
    }

    /// A session that is not admitted: it is told when there is more credit. Its own coming back sets it going anyway.
    func holdBack(_ session: Session) {
        if self.credit <= 0 {
            guard !session.isWaitingForLink else { return }
            session.isWaitingForLink = true
            self.waiting.append(session.index)
        } else {
            // Those that have gone since are taken out with the next credit.
            let isStale = self.heldBack.count > 2 * self.sessionCount + 64
            self.heldBackMark = min(self.heldBackMark, isStale ? Int.min / 2 : self.credit)
            guard !session.isHeldBack else { return }
            session.isHeldBack = true
            self.heldBack.append(session.index)
        }
    }

    /// A listener cannot return more than it was given: beyond that, numbers are wrong, and are cut off.
    /// - Returns: whether there is so much more than before that those held back are to be looked through.
    func returned(_ bytes: Int) -> Bool {
        self.heldBackMark = min(self.heldBackMark, self.credit)
        self.credit = min(self.credit &+ bytes, Int(self.peer.linkCreditBytes))
        guard !self.heldBack.isEmpty else { return false }
        let step = max(1, Int(self.peer.linkCreditBytes) / 32)
        guard self.credit > self.ampleCredit || self.credit &- step >= self.heldBackMark else { return false }
        self.heldBackMark = self.credit
        return true
    }

    /// Takes an answer out of its place instead of copying it: a copy counts a reference for each part of it.
    func takeHeld(at position: Int) -> HeldAnswer {
        var answer = HeldAnswer.left
        swap(&answer, &self.held[position])
        return answer
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
    /// The caller fills the memory it gets.
    @inline(__always)
    func beginDeliver(handle: UInt64, flags: UInt8, bytes: Int) -> RawWriter {
        let end = self.output.readableBytes
        if self.deliverHandle == handle, self.deliverEnd == end, self.deliverFlags == flags {
            let body = end - self.deliverStart - Self.headerBytes + bytes
            if body <= self.partBytes {
                let space = self.append(bytes)
                let header = self.output.mutableReadable
                header.storeBytes(
                    of: UInt32(truncatingIfNeeded: body).littleEndian,
                    toByteOffset: self.deliverStart,
                    as: UInt32.self
                )
                self.deliverEnd = end + bytes
                return space
            }
        }
        self.deliverHandle = flags & FrameFlags.packetContinues == 0 ? handle : Self.noHandle
        self.deliverFlags = flags
        self.deliverStart = end
        self.deliverEnd = end + Self.headerBytes + bytes
        return self.beginFrame(Self.deliverKind, flags: flags, handle: handle, bodyBytes: bytes)
    }

    /// A header, and room for the body that the caller writes.
    @inline(__always)
    func beginFrame(_ kind: UInt8, flags: UInt8, handle: UInt64, bodyBytes: Int) -> RawWriter {
        precondition(bodyBytes <= Self.frameBodyBytesMax, "frame body above the limit")
        var writer = self.append(Self.headerBytes + bodyBytes)
        writer.writeLittleEndian(UInt32(truncatingIfNeeded: bodyBytes))
        writer.writeLittleEndian(UInt32(kind) | UInt32(flags) << 8)
        writer.writeLittleEndian(handle)
        return writer
    }

    @inline(__always)
    private func append(_ bytes: Int) -> RawWriter {
        let space = self.output.writable(minimum: bytes)
        guard let start = space.baseAddress else { preconditionFailure("no room was made") }
        self.output.commit(bytes)
        return RawWriter(start)
    }

    /// A whole PUBLISH for one session.
    /// - Parameter exchange: of a message that its publisher's listener keeps; 0: it does not.
    @inline(__always)
    func writePublish(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        furtherIdentifiers: [UInt32]? = nil,
        handle: UInt64,
        packetIdentifier: UInt16,
        exchange: UInt64 = 0
    ) {
        let isNamed = exchange != 0
        var writer = self.beginDeliver(
            handle: handle,
            flags: isNamed ? FrameFlags.debitsCredit | FrameFlags.hasExchanges : FrameFlags.debitsCredit,
            bytes: layout.packetBytes + (isNamed ? MemoryLayout<UInt64>.size : 0)
        )
        if isNamed { writer.writeLittleEndian(exchange) }
        writer.writePublish(
            view,
            shape,
            layout,
            furtherIdentifiers: furtherIdentifiers,
            packetIdentifier: packetIdentifier
        )
    }

    /// - Parameter list: the entries as they are in the frame.
    func writeMulticast(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        list: UnsafeRawBufferPointer
    ) {
        let prefixBytes = MulticastFrame.prefixBytes + list.count
        var writer = self.beginFrame(
            FrameKind.sessionMulticast.rawValue,
            flags: 0,
            handle: 0,
            bodyBytes: prefixBytes + layout.packetBytes
        )
        let offsetPosition = writer.position
        writer.writeLittleEndian(0 as UInt32)
        writer.writeLittleEndian(UInt32(truncatingIfNeeded: list.count / MulticastFrame.entryBytes))
        writer.write(list)
        let offset = writer.writePublish(view, shape, layout, packetIdentifier: 0)
        offsetPosition.storeBytes(of: UInt32(truncatingIfNeeded: offset).littleEndian, as: UInt32.self)
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
