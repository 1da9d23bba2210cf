/// Reads the records of a group of changes:
///
/// ```
///  | 1: put, 2: delete, 3: insert | key bytes (4, little-endian) | value bytes (4) | key | value |
/// ```
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
        guard rest >= Self.headerBytes,
            let operation = Operation(rawValue: self.bytes[self.offset])
        else { return self.broken() }
        let keyBytes = Int(
            UInt32(littleEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset + 1, as: UInt32.self))
        )
        let valueBytes = Int(
            UInt32(littleEndian: self.bytes.loadUnaligned(fromByteOffset: self.offset + 5, as: UInt32.self))
        )
        guard rest - Self.headerBytes >= keyBytes + valueBytes, keyBytes > 0 else { return self.broken() }
        let keyStart = self.offset + Self.headerBytes
        let valueStart = keyStart + keyBytes
        self.offset = valueStart + valueBytes
        let key = UnsafeRawBufferPointer(rebasing: self.bytes[keyStart..<valueStart])
        let value = UnsafeRawBufferPointer(rebasing: self.bytes[valueStart..<self.offset])
        return Record(operation: operation, key: key, value: value)
    }

    private mutating func broken() -> Record? {
        self.isBroken = true
        return nil
    }
}
