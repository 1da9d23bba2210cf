import Glibc

/// Writes into memory that was reserved before. The caller knows how many bytes it writes, and checks that it wrote them.
struct RawWriter {
    private(set) var position: UnsafeMutableRawPointer

    init(_ position: UnsafeMutableRawPointer) {
        self.position = position
    }

    @inline(__always)
    mutating func write(_ byte: UInt8) {
        self.position.storeBytes(of: byte, as: UInt8.self)
        self.position += 1
    }

    @inline(__always)
    mutating func writeBigEndian(_ value: UInt16) {
        self.position.storeBytes(of: value.bigEndian, as: UInt16.self)
        self.position += 2
    }

    @inline(__always)
    mutating func writeBigEndian(_ value: UInt32) {
        self.position.storeBytes(of: value.bigEndian, as: UInt32.self)
        self.position += 4
    }

    @inline(__always)
    mutating func writeLittleEndian(_ value: UInt32) {
        self.position.storeBytes(of: value.littleEndian, as: UInt32.self)
        self.position += 4
    }

    @inline(__always)
    mutating func writeLittleEndian(_ value: UInt64) {
        self.position.storeBytes(of: value.littleEndian, as: UInt64.self)
        self.position += 8
    }

    @inline(__always)
    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        memcpy(self.position, source, bytes.count)
        self.position += bytes.count
    }

    /// MQTT's variable byte integer (MQTT 5.0, section 1.5.5).
    @inline(__always)
    mutating func writeVariableByteInteger(_ value: Int) {
        var rest = UInt32(truncatingIfNeeded: value)
        while rest >= 0x80 {
            self.write(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        self.write(UInt8(truncatingIfNeeded: rest))
    }

    /// Bytes that `writeVariableByteInteger` takes; 4 for what is too large for it.
    @inline(__always)
    static func variableByteIntegerLength(_ value: Int) -> Int {
        value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : 4
    }
}
