/// Reads integers and byte strings from memory, never beyond its end: every read returns nil when too few bytes are left.
///
/// It borrows the memory: use it only while the buffer it was made from is valid.
package struct ByteReader {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    /// Bytes read so far.
    @usableFromInline package internal(set) var offset = 0

    @inlinable package init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    @inlinable package var remaining: Int { self.bytes.count - self.offset }

    @inlinable package var isAtEnd: Bool { self.offset == self.bytes.count }

    @inlinable package mutating func readUInt8() -> UInt8? {
        guard self.offset < self.bytes.count else { return nil }
        defer { self.advance(1) }
        return self.bytes[self.offset]
    }

    @inlinable package mutating func readBigEndian<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        guard self.remaining >= MemoryLayout<Integer>.size else { return nil }
        defer { self.advance(MemoryLayout<Integer>.size) }
        return Integer(bigEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: Integer.self))
    }

    @inlinable package mutating func readLittleEndian<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        guard self.remaining >= MemoryLayout<Integer>.size else { return nil }
        defer { self.advance(MemoryLayout<Integer>.size) }
        return Integer(littleEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset, as: Integer.self))
    }

    @inlinable package mutating func readBytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, self.remaining >= count else { return nil }
        defer { self.advance(count) }
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset..<self.offset + count])
    }

    /// All bytes that are left.
    @inlinable package mutating func readRest() -> UnsafeRawBufferPointer {
        defer { self.advance(self.remaining) }
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset...])
    }

    @inlinable mutating func advance(_ count: Int) {
        self.offset += count
    }
}
