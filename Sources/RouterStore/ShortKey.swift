import Common

/// A key of at most 17 bytes, as all but those of retained messages are, without an array of its own. What each is about is in `StoreKey`.
package struct ShortKey: Equatable, BitwiseCopyable {
    static var bytesMax: Int { 17 }
    /// Of a kind and one number, and of a kind and two.
    private static var bytesOfOne: UInt8 { 9 }
    private static var bytesOfTwo: UInt8 { 17 }

    /// What follows the kind, big-endian, zeros where there is nothing.
    private(set) var first: UInt64 = 0
    private(set) var second: UInt64 = 0
    private(set) var kind: UInt8
    /// Of bytes; 0 of none but `none`.
    private(set) var count: UInt8

    /// No key.
    static var none: ShortKey { ShortKey() }
    var isNone: Bool { self.count == 0 }

    private init() {
        self.kind = 0
        self.count = 0
    }

    private init(_ kind: UInt8, _ first: UInt64, _ second: UInt64, count: UInt8) {
        self.first = first
        self.second = second
        self.kind = kind
        self.count = count
    }

    package static func message(_ number: UInt64) -> ShortKey {
        ShortKey(StoreKey.message, number, 0, count: Self.bytesOfOne)
    }

    package static func session(_ session: UInt64) -> ShortKey {
        ShortKey(StoreKey.session, session, 0, count: Self.bytesOfOne)
    }

    package static func subscription(_ session: UInt64, _ number: UInt32) -> ShortKey {
        ShortKey(StoreKey.subscription, session, UInt64(number) << 32, count: Self.bytesOfOne + 4)
    }

    package static func item(_ session: UInt64, _ number: UInt64) -> ShortKey {
        ShortKey(StoreKey.item, session, number, count: Self.bytesOfTwo)
    }

    package static func received(_ session: UInt64, _ packetIdentifier: UInt16) -> ShortKey {
        ShortKey(StoreKey.received, session, UInt64(packetIdentifier) << 48, count: Self.bytesOfOne + 2)
    }

    package static func completed(_ session: UInt64, _ exchange: UInt64) -> ShortKey {
        ShortKey(StoreKey.completed, session, exchange, count: Self.bytesOfTwo)
    }

    /// In one go: the numbers whole, of which the key's bytes count.
    @inline(__always)
    package func write(into buffer: inout ByteBuffer) {
        let room = buffer.writable(minimum: Self.bytesMax)
        room.storeBytes(of: self.kind, as: UInt8.self)
        room.storeBytes(of: self.first.bigEndian, toByteOffset: 1, as: UInt64.self)
        room.storeBytes(of: self.second.bigEndian, toByteOffset: 9, as: UInt64.self)
        buffer.commit(Int(self.count))
    }

    @inline(__always)
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, bytes.count <= Self.bytesMax else { return nil }
        self.kind = bytes[0]
        self.count = UInt8(truncatingIfNeeded: bytes.count)
        self.first = Self.word(bytes, 1)
        self.second = Self.word(bytes, 9)
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> UInt64 {
        if bytes.count >= start + 8 {
            return UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
        }
        var word: UInt64 = 0
        for position in start..<max(start, bytes.count) {
            word |= UInt64(bytes[position]) << UInt64(56 - 8 * (position - start))
        }
        return word
    }

    /// The number that a message or a copy of one has, from the sequence that all of them share; nil for keys of other kinds.
    @inline(__always)
    var number: UInt64? {
        switch self.kind {
        case StoreKey.message: self.first
        case StoreKey.item: self.second
        default: nil
        }
    }

    var bytes: [UInt8] {
        guard !self.isNone else { return [] }
        var bytes = [self.kind]
        for position in 0..<Int(self.count) - 1 {
            let word = position < 8 ? self.first : self.second
            bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * (position % 8))))
        }
        return bytes
    }
}
