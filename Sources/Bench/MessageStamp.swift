import Common
import Glibc

/// What each payload begins with: who sent it, the how manyth it is, and when it was due.
struct MessageStamp {
    var publisher: UInt32
    var sequence: UInt32
    /// Nanoseconds of the monotonic clock.
    var due: UInt64

    static let bytes = 16
    /// The last byte of a longer payload.
    private static let mark: UInt8 = 0xA5

    /// A payload without its stamp.
    static func filler(_ count: Int) -> [UInt8] {
        let size = max(count, Self.bytes)
        return (0..<size).map { $0 == size - 1 && size > Self.bytes ? Self.mark : UInt8(truncatingIfNeeded: $0 &* 31) }
    }

    func write(into payload: UnsafeMutableRawBufferPointer) {
        let last = self.check << Self.dueBits | self.due >> Self.stepBits
        payload.storeBytes(of: self.publisher.bigEndian, toByteOffset: 0, as: UInt32.self)
        payload.storeBytes(of: self.sequence.bigEndian, toByteOffset: 4, as: UInt32.self)
        payload.storeBytes(of: last.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// Moments are in steps of 64 ns, and end after 36 years: that leaves ten bits for a checksum of the stamp.
    private static let stepBits: UInt64 = 6
    private static let dueBits: UInt64 = 54

    /// The moment as a stamp says it.
    static func rounded(_ due: UInt64) -> UInt64 { (due >> Self.stepBits) << Self.stepBits }

    private var check: UInt64 {
        let mixed = (UInt64(self.sequence) << 32 | UInt64(self.publisher)) &* 0x9E37_79B9_7F4A_7C15
        return ((mixed ^ mixed >> 29 ^ self.due >> Self.stepBits) &* 0xBF58_476D_1CE4_E5B9) >> Self.dueBits
    }

    /// Nil: damaged, or of somebody else.
    /// - Parameter count: how long the payload should be.
    init?(_ payload: UnsafeRawBufferPointer, count: Int) {
        guard payload.count == max(count, Self.bytes) else { return nil }
        if payload.count > Self.bytes, payload[payload.count - 1] != Self.mark { return nil }
        self.publisher = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
        self.sequence = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let last = UInt64(bigEndian: payload.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        self.due = (last & (1 << Self.dueBits - 1)) << Self.stepBits
        guard last >> Self.dueBits == self.check else { return nil }
    }

    /// Looks at every byte.
    /// - Parameter filler: what the payload is but for the stamp.
    init?(_ payload: UnsafeRawBufferPointer, filler: [UInt8]) {
        self.init(payload, count: filler.count)
        let isIntact = filler.withUnsafeBytes { wanted in
            guard let own = payload.baseAddress, let other = wanted.baseAddress else { return false }
            return memcmp(own + Self.bytes, other + Self.bytes, wanted.count - Self.bytes) == 0
        }
        guard isIntact else { return nil }
    }

    init(publisher: UInt32, sequence: UInt32, due: UInt64) {
        self.publisher = publisher
        self.sequence = sequence
        self.due = due
    }
}
