/// FNV-1a with 64 bits: the same number of the same bytes in every process. Not for tables that others may fill on purpose.
@frozen
public struct FNV1a {
    @usableFromInline var sum: UInt64 = 0xCBF2_9CE4_8422_2325

    @inlinable public init() {}

    @inlinable public init(_ bytes: some Sequence<UInt8>) {
        self.add(bytes)
    }

    @inlinable public var value: UInt64 { self.sum }

    @inlinable public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { self.add(byte) }
    }

    @inlinable public mutating func add(_ byte: UInt8) {
        self.sum = (self.sum ^ UInt64(byte)) &* 0x100_0000_01B3
    }
}
