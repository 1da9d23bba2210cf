import Common

/// A subscription as a value of the store. The filter is where it lies.
///
/// ```
///  | options (4, little-endian) | 1: retained messages are still to be sent for it | filter |
/// ```
package struct StoredSubscription {
    /// As the router's `Subscriber.Options` has them.
    package var options: UInt32
    /// Its client has not got all retained messages that the subscription asked for.
    package var awaitsRetained: Bool
    package var filter: UnsafeRawBufferPointer

    package init(options: UInt32, awaitsRetained: Bool, filter: UnsafeRawBufferPointer) {
        self.options = options
        self.awaitsRetained = awaitsRetained
        self.filter = filter
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeLittleEndian(self.options)
        buffer.write(self.awaitsRetained ? 1 : 0 as UInt8)
        buffer.write(self.filter)
    }

    /// Nil: the value is broken.
    package init?(_ value: UnsafeRawBufferPointer) {
        var reader = ByteReader(value)
        guard let options = reader.readLittleEndian(UInt32.self), options & 3 < 3, let flags = reader.readUInt8(),
            flags <= 1
        else { return nil }
        let filter = reader.readRest()
        if case .invalid = TopicFilter.parse(filter) { return nil }
        self.init(options: options, awaitsRetained: flags == 1, filter: filter)
    }
}
