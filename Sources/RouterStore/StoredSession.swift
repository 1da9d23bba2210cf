import Common

/// What a session is apart from its messages and subscriptions, as a value of the store. Times are of the wall clock,
/// nanoseconds since 1970; 0: none.
package struct StoredSession {
    package var clientIdentifier: [UInt8] = []
    package var expirySeconds: UInt32 = 0
    package var version = ProtocolVersion.v5_0
    package var isConnected = false
    /// Of the connection that it has or had last: nanoseconds of CLOCK_BOOTTIME.
    package var connectStamp: UInt64 = 0
    /// That connection found the session, and did not make it.
    package var isResumed = false
    /// On that connection not all is sent again that was under way before it.
    package var isResending = false
    /// When it expires, once it is disconnected.
    package var expiryDue: UInt64 = 0
    package var willDue: UInt64 = 0
    package var willDelaySeconds: UInt32 = 0
    /// The message expiry interval of the will; nil: none.
    package var willExpirySeconds: UInt32?
    /// As `StoredMessage` has it.
    package var will: [UInt8]?

    package init() {}

    package func encode(into buffer: inout ByteBuffer) {
        buffer.write(self.version.rawValue)
        let flags =
            (self.isConnected ? 1 : 0) | (self.will != nil ? 2 : 0) | (self.willExpirySeconds != nil ? 4 : 0)
            | (self.isResumed ? 8 : 0) | (self.isResending ? 16 : 0) as UInt8
        buffer.write(flags)
        buffer.writeLittleEndian(self.connectStamp)
        buffer.writeLittleEndian(self.expirySeconds)
        buffer.writeLittleEndian(self.expiryDue)
        buffer.writeLittleEndian(self.willDue)
        buffer.writeLittleEndian(self.willDelaySeconds)
        buffer.writeLittleEndian(self.willExpirySeconds ?? 0)
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: self.clientIdentifier.count))
        buffer.write(self.clientIdentifier)
        if let will = self.will { buffer.write(will) }
    }

    /// Nil: the value is broken.
    package init?(_ value: UnsafeRawBufferPointer) {
        var reader = ByteReader(value)
        guard let level = reader.readUInt8(), let version = ProtocolVersion(rawValue: level),
            let flags = reader.readUInt8(), let stamp = reader.readLittleEndian(UInt64.self),
            let expirySeconds = reader.readLittleEndian(UInt32.self),
            let expiryDue = reader.readLittleEndian(UInt64.self), let willDue = reader.readLittleEndian(UInt64.self),
            let delay = reader.readLittleEndian(UInt32.self), let willExpiry = reader.readLittleEndian(UInt32.self),
            let count = reader.readLittleEndian(UInt32.self), let identifier = reader.readBytes(Int(count)),
            !identifier.isEmpty
        else { return nil }
        self.clientIdentifier = [UInt8](identifier)
        self.expirySeconds = expirySeconds
        self.version = version
        self.isConnected = flags & 1 != 0
        self.isResumed = flags & 8 != 0
        self.isResending = flags & 16 != 0
        self.connectStamp = stamp
        self.expiryDue = expiryDue
        self.willDue = willDue
        self.willDelaySeconds = delay
        self.willExpirySeconds = flags & 4 != 0 ? willExpiry : nil
        guard flags & 2 != 0 else { return }
        let will = reader.readRest()
        guard StoredMessage(will) != nil else { return nil }
        self.will = [UInt8](will)
    }
}
