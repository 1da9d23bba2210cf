import Common

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
        payload.storeBytes(of: self.publisher.bigEndian, toByteOffset: 0, as: UInt32.self)
        payload.storeBytes(of: self.sequence.bigEndian, toByteOffset: 4, as: UInt32.self)
        payload.storeBytes(of: self.due.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// Nil: damaged, or of somebody else.
    /// - Parameter count: how long the payload should be.
    init?(_ payload: UnsafeRawBufferPointer, count: Int) {
        guard payload.count == max(count, Self.bytes) else { return nil }
        if payload.count > Self.bytes, payload[payload.count - 1] != Self.mark { return nil }
        self.publisher = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
        self.sequence = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        self.due = UInt64(bigEndian: payload.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    init(publisher: UInt32, sequence: UInt32, due: UInt64) {
        self.publisher = publisher
        self.sequence = sequence
        self.due = due
    }
}
