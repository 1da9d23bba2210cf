import Common

/// Writes the records that `ChangeReader` reads. Those that messages make by the thousand are each one call, in which all of it is
/// written at once.
package enum ChangeWriter {
    /// Appends a record whose key and value the closures write.
    @inline(__always)
    static func append(
        _ operation: ChangeReader.Operation,
        _ key: (inout ByteBuffer) -> Void,
        _ value: (inout ByteBuffer) -> Void,
        to buffer: inout ByteBuffer
    ) {
        let start = buffer.readableBytes
        buffer.writable(minimum: ChangeReader.headerBytes).storeBytes(of: operation.rawValue, as: UInt8.self)
        buffer.commit(ChangeReader.headerBytes)
        key(&buffer)
        let keyEnd = buffer.readableBytes
        value(&buffer)
        let keyBytes = UInt32(truncatingIfNeeded: keyEnd - start - ChangeReader.headerBytes)
        let valueBytes = UInt32(truncatingIfNeeded: buffer.readableBytes - keyEnd)
        let record = buffer.mutableReadable
        record.storeBytes(of: keyBytes.littleEndian, toByteOffset: start + 1, as: UInt32.self)
        record.storeBytes(of: valueBytes.littleEndian, toByteOffset: start + 5, as: UInt32.self)
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        key: (inout ByteBuffer) -> Void,
        value: (inout ByteBuffer) -> Void,
        to buffer: inout ByteBuffer
    ) {
        self.append(operation, key, value, to: &buffer)
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ item: StoredItem,
        to buffer: inout ByteBuffer
    ) {
        self.append(operation, { key.write(into: &$0) }, { item.encode(into: &$0) }, to: &buffer)
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ message: StoredMessage,
        to buffer: inout ByteBuffer
    ) {
        self.append(operation, { key.write(into: &$0) }, { message.encode(into: &$0) }, to: &buffer)
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ number: UInt64,
        to buffer: inout ByteBuffer
    ) {
        self.append(operation, { key.write(into: &$0) }, { $0.writeLittleEndian(number) }, to: &buffer)
    }

    package static func writeDelete(_ key: ShortKey, to buffer: inout ByteBuffer) {
        self.append(.delete, { key.write(into: &$0) }, { _ in }, to: &buffer)
    }
}
