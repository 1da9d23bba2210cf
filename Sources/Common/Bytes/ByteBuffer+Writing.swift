import Glibc

// MQTT is big-endian, frames between the roles are little-endian; the names say which.
extension ByteBuffer {
    @inlinable public mutating func write(_ byte: UInt8) {
        self.reserve(1)
        self.base.unsafelyUnwrapped.storeBytes(of: byte, toByteOffset: self.tail, as: UInt8.self)
        self.tail += 1
    }

    @inlinable public mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        self.reserve(bytes.count)
        memcpy(self.base.unsafelyUnwrapped + self.tail, source, bytes.count)
        self.tail += bytes.count
    }

    @inlinable public mutating func write(_ bytes: [UInt8]) {
        self.reserve(bytes.count)
        bytes.withUnsafeBytes { self.write($0) }
    }

    @inlinable public mutating func write(_ bytes: ArraySlice<UInt8>) {
        self.reserve(bytes.count)
        bytes.withUnsafeBytes { self.write($0) }
    }

    public mutating func write(_ text: String) {
        self.write(Array(text.utf8))
    }

    @inlinable public mutating func writeBigEndian<Integer: FixedWidthInteger>(_ value: Integer) {
        self.reserve(MemoryLayout<Integer>.size)
        self.base.unsafelyUnwrapped.storeBytes(of: value.bigEndian, toByteOffset: self.tail, as: Integer.self)
        self.tail += MemoryLayout<Integer>.size
    }

    @inlinable public mutating func writeLittleEndian<Integer: FixedWidthInteger>(_ value: Integer) {
        self.reserve(MemoryLayout<Integer>.size)
        self.base.unsafelyUnwrapped.storeBytes(of: value.littleEndian, toByteOffset: self.tail, as: Integer.self)
        self.tail += MemoryLayout<Integer>.size
    }

    /// Overwrites bytes written before; `offset` counts from the first readable byte.
    @inlinable public mutating func setBigEndian<Integer: FixedWidthInteger>(_ value: Integer, at offset: Int) {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= self.readableBytes, "offset out of range")
        self.base.unsafelyUnwrapped.storeBytes(
            of: value.bigEndian,
            toByteOffset: self.head + offset,
            as: Integer.self
        )
    }

    /// Overwrites bytes written before; `offset` counts from the first readable byte.
    @inlinable public mutating func setLittleEndian<Integer: FixedWidthInteger>(_ value: Integer, at offset: Int) {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= self.readableBytes, "offset out of range")
        self.base.unsafelyUnwrapped.storeBytes(
            of: value.littleEndian,
            toByteOffset: self.head + offset,
            as: Integer.self
        )
    }
}
