import Common

/// Writes the records that `ChangeReader` reads. Those that messages make by the thousand are each one call, in which all of it is
/// written at once.
package enum ChangeWriter {
    /// Appends a record whose key and value the closures write.
    package static func write(
        _ operation: ChangeReader.Operation,
        key: (inout ByteBuffer) -> Void,
        value: (inout ByteBuffer) -> Void,
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

    /// The same in the short form, which a value of more bytes than that has not.
    @inline(__always)
    private static func writeShort(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        to buffer: inout ByteBuffer,
        _ value: (inout ByteBuffer) -> Void
    ) {
        let start = buffer.readableBytes
        let first = ChangeReader.shortFlag | operation.rawValue | key.count << 2
        buffer.writable(minimum: ChangeReader.shortHeaderBytes).storeBytes(of: first, as: UInt8.self)
        buffer.commit(ChangeReader.shortHeaderBytes)
        key.write(into: &buffer)
        let keyEnd = buffer.readableBytes
        value(&buffer)
        let valueBytes = UInt16(truncatingIfNeeded: buffer.readableBytes - keyEnd)
        buffer.mutableReadable.storeBytes(of: valueBytes.littleEndian, toByteOffset: start + 1, as: UInt16.self)
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ item: StoredItem,
        to buffer: inout ByteBuffer
    ) {
        guard item.encodedBytes <= ChangeReader.shortValueMax else {
            return self.write(operation, key: { key.write(into: &$0) }, value: { item.encode(into: &$0) }, to: &buffer)
        }
        self.writeShort(operation, key, to: &buffer) { item.encode(into: &$0) }
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ message: StoredMessage,
        to buffer: inout ByteBuffer
    ) {
        guard message.encodedBytes <= ChangeReader.shortValueMax else {
            return self.write(
                operation,
                key: { key.write(into: &$0) },
                value: { message.encode(into: &$0) },
                to: &buffer
            )
        }
        self.writeShort(operation, key, to: &buffer) { message.encode(into: &$0) }
    }

    package static func write(
        _ operation: ChangeReader.Operation,
        _ key: ShortKey,
        _ number: UInt64,
        to buffer: inout ByteBuffer
    ) {
        self.writeShort(operation, key, to: &buffer) { $0.writeLittleEndian(number) }
    }

    package static func writeDelete(_ key: ShortKey, to buffer: inout ByteBuffer) {
        self.writeShort(.delete, key, to: &buffer) { _ in }
    }
}
