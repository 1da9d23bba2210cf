/// Reads integers and byte strings from memory, never beyond its end: every read returns nil when too few bytes are left.
///
/// It borrows the memory: use it only while the buffer it was made from is valid.
public struct ByteReader {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    @usableFromInline var position = 0
    /// Bytes read so far.
    @inlinable public var offset: Int { self.position }

    @inlinable public init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    @inlinable public var remaining: Int { self.bytes.count - self.offset }

    @inlinable public var isAtEnd: Bool { self.offset == self.bytes.count }

    @inlinable public mutating func readUInt8() -> UInt8? {
        guard self.offset < self.bytes.count else { return nil }
        defer { self.advance(1) }
        return self.bytes[self.offset]
    }

    @inlinable public mutating func readBigEndian<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        guard self.remaining >= MemoryLayout<Integer>.size else { return nil }
        defer { self.advance(MemoryLayout<Integer>.size) }
        return Integer(bigEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: Integer.self))
    }

    @inlinable public mutating func readLittleEndian<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        guard self.remaining >= MemoryLayout<Integer>.size else { return nil }
        defer { self.advance(MemoryLayout<Integer>.size) }
        return Integer(littleEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: Integer.self))
    }

    @inlinable public mutating func readBytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, self.remaining >= count else { return nil }
        defer { self.advance(count) }
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset..<self.offset + count])
    }

    /// All bytes that are left.
    @inlinable public mutating func readRest() -> UnsafeRawBufferPointer {
        defer { self.advance(self.remaining) }
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset...])
    }

    @inlinable mutating func advance(_ count: Int) {
        self.position += count
    }
}
