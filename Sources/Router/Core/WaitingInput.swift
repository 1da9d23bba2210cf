import Common

/// What came from a client that has used up its turn, as far as it is not handled, in order.
///
/// ```
///  taken ─┐                    ┌─ limit: here its client came back
///  ░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓ parts     then `end`, then `successor`
/// ```
///
/// Its bytes have used credit, which returns when they are handled: that bounds them.
final class WaitingInput {
    /// The bodies of `sessionPackets` frames; one alone where it has a name, and else as many as fit.
    private struct Part {
        var flags: UInt8
        var bytes: [UInt8]
    }

    /// A CONNECT of the same client.
    struct Successor {
        var link: RouterLink
        var header: FrameHeader
        var body: [UInt8]
        var stamp: UInt64
        var version: ProtocolVersion
    }

    let session: Session
    let link: RouterLink
    let handle: UInt64
    /// As of `Session.work`.
    var work: UInt64
    private var parts: [Part] = []
    /// Those of `parts` that are done with, and bytes of the one after them.
    private var partsTaken = 0
    private var bytesTaken = 0
    /// Bytes that are to be handled before `successor` is.
    private var limit: Int?
    private(set) var byteCount = 0
    /// The connection is gone.
    var end: ConnectionEnd?
    private(set) var successor: Successor?
    /// What comes next has to be stored, which the store was too far behind for.
    var waitsForStore = false
    /// A part of it is being handled.
    var isUnderWay = false
    /// When it came to nothing: bytes of the packet under way that had not come.
    var partial: Session.PartialInput?

    private static let partBytesMax = 64 << 10

    init(_ session: Session, _ link: RouterLink, work: UInt64) {
        self.session = session
        self.link = link
        self.handle = session.handle
        self.work = work
    }

    /// Nothing is left to be handled before the end, or the successor.
    var isExhausted: Bool { self.limit.map { $0 <= 0 } ?? (self.byteCount == 0) }

    func isFollowed(by handle: UInt64, on link: RouterLink) -> Bool {
        self.successor.map { $0.header.handle == handle && $0.link === link } ?? false
    }

    func append(_ bytes: UnsafeRawBufferPointer, flags: UInt8) {
        self.byteCount += bytes.count
        if let last = self.parts.indices.last, last >= self.partsTaken,
            (flags | self.parts[last].flags) & FrameFlags.hasExchanges == 0,
            self.parts[last].bytes.count + bytes.count <= Self.partBytesMax
        {
            self.parts[last].bytes.append(contentsOf: bytes)
            self.parts[last].flags = flags
        } else {
            self.parts.append(Part(flags: flags, bytes: [UInt8](bytes)))
        }
    }

    /// Has a CONNECT follow what has come up to now.
    /// - Returns: the older one where there are two.
    func follow(with successor: Successor) -> Successor? {
        if let other = self.successor, other.stamp > successor.stamp { return successor }
        defer { self.successor = successor }
        self.limit = self.byteCount
        return self.successor
    }

    func takeSuccessor() -> Successor? {
        self.limit = nil
        return self.successor.take()
    }

    /// What comes next, with the flags of the frame that it is the rest of.
    /// - Parameter body: returns how many of the bytes it has taken; nothing is appended meanwhile.
    func takeNext(_ body: (UnsafeRawBufferPointer, UInt8) -> Int) {
        let part = self.parts[self.partsTaken]
        let left = part.bytes.count - self.bytesTaken
        let count = min(left, self.limit ?? left)
        let flags = count < left ? part.flags | FrameFlags.packetContinues : part.flags
        let range = self.bytesTaken..<self.bytesTaken + count
        self.took(part.bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[range]), flags) })
    }

    private func took(_ count: Int) {
        self.byteCount -= count
        self.bytesTaken += count
        if let limit = self.limit { self.limit = limit - count }
        guard self.bytesTaken == self.parts[self.partsTaken].bytes.count else { return }
        self.parts[self.partsTaken].bytes = []
        self.partsTaken += 1
        self.bytesTaken = 0
        guard self.partsTaken == self.parts.count || self.partsTaken >= 64 else { return }
        self.parts.removeFirst(self.partsTaken)
        self.partsTaken = 0
    }

    /// Takes all that is left.
    func takeAll(_ body: (UnsafeRawBufferPointer, UInt8) -> Void) {
        self.limit = nil
        while self.byteCount > 0 {
            self.takeNext { bytes, flags in
                body(bytes, flags)
                return bytes.count
            }
        }
    }
}
