/// Reads the records of a group of changes:
///
/// ```
///  | 1: put, 2: delete, 3: insert | key bytes (4, little-endian) | value bytes (4) | key | value |
///  | 128 + operation + 4 × key bytes | value bytes (2, little-endian) | key | value |
/// ```
/// The second form is for keys of at most 31 bytes and values of at most 65,535.
package struct ChangeReader: ~Copyable {
    package enum Operation: UInt8 {
        case put = 1
        case delete = 2
        /// A put of an entry that was not there before.
        case insert = 3
    }

    package struct Record {
        package var operation: Operation
        package var key: UnsafeRawBufferPointer
        /// Empty when the entry is deleted.
        package var value: UnsafeRawBufferPointer
    }

    /// Before the key.
    static var headerBytes: Int { 9 }
    static var shortHeaderBytes: Int { 3 }
    static var shortFlag: UInt8 { 0x80 }
    /// Of a value in the short form.
    static var shortValueMax: Int { 0xFFFF }

    private let bytes: UnsafeRawBufferPointer
    private var offset = 0
    /// The bytes end in the middle of a record, or are none.
    package private(set) var isBroken = false

    package init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// - Returns: nil at the end.
    @inline(__always)
    package mutating func next() -> Record? {
        guard self.offset < self.bytes.count, !self.isBroken else { return nil }
        let rest = self.bytes.count - self.offset
        let first = self.bytes[self.offset]
        let isShort = first & Self.shortFlag != 0
        let header = isShort ? Self.shortHeaderBytes : Self.headerBytes
        guard rest >= header, let operation = Operation(rawValue: isShort ? first & 3 : first) else {
            return self.broken()
        }
        let (keyBytes, valueBytes) =
            isShort
            ? (Int(first & ~Self.shortFlag) >> 2, self.number(at: 1, as: UInt16.self))
            : (self.number(at: 1, as: UInt32.self), self.number(at: 5, as: UInt32.self))
        guard rest - header >= keyBytes + valueBytes, keyBytes > 0 else { return self.broken() }
        let keyStart = self.offset + header
        let valueStart = keyStart + keyBytes
        self.offset = valueStart + valueBytes
        let key = UnsafeRawBufferPointer(rebasing: self.bytes[keyStart..<valueStart])
        let value = UnsafeRawBufferPointer(rebasing: self.bytes[valueStart..<self.offset])
        return Record(operation: operation, key: key, value: value)
    }

    /// After so many bytes of the record.
    @inline(__always)
    private func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as: Number.Type) -> Int {
        Int(
            truncatingIfNeeded: Number(
                littleEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset + offset, as: Number.self)
            )
        )
    }

    private mutating func broken() -> Record? {
        self.isBroken = true
        return nil
    }
}
