import Common

/// What a session is apart from its messages and subscriptions, as a value of the store. Times are of the wall clock,
/// nanoseconds since 1970; 0: none.
struct StoredSession {
    var clientIdentifier: [UInt8] = []
    var expirySeconds: UInt32 = 0
    var version = ProtocolVersion.v5_0
    var isConnected = false
    /// When it expires, once it is disconnected.
    var expiryDue: UInt64 = 0
    var willDue: UInt64 = 0
    var willDelaySeconds: UInt32 = 0
    /// The message expiry interval of the will; nil: none.
    var willExpirySeconds: UInt32?
    /// As `StoredMessage` has it.
    var will: [UInt8]?

    init(_ session: Session, now: Instant, wallOffset: UInt64) {
        self.clientIdentifier = session.clientIdentifier
        self.expirySeconds = session.expirySeconds
        self.version = session.version
        self.isConnected = session.isConnected
        self.expiryDue = session.expiryDue.map { $0 &+ wallOffset } ?? 0
        self.willDue = session.willDue.map { $0 &+ wallOffset } ?? 0
        // A will that its rules forbid would not be published; who comes back from the store has no rules until its client does.
        guard let will = session.will,
            session.mayPublish(
                topic: will.message.view.topic,
                qos: will.message.header.qos,
                retain: will.message.header.retain
            )
        else { return }
        self.willDelaySeconds = will.delaySeconds
        self.willExpirySeconds = will.expirySeconds
        var buffer = ByteBuffer()
        StoredMessage.encode(will.message.view, wallOffset: wallOffset, into: &buffer)
        self.will = buffer.array
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(self.version.rawValue)
        let flags =
            (self.isConnected ? 1 : 0) | (self.will != nil ? 2 : 0) | (self.willExpirySeconds != nil ? 4 : 0) as UInt8
        buffer.write(flags)
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
    init?(_ value: UnsafeRawBufferPointer) {
        var reader = ByteReader(value)
        guard let level = reader.readUInt8(), let version = ProtocolVersion(rawValue: level),
            let flags = reader.readUInt8(), let expirySeconds = reader.readLittleEndian(UInt32.self),
            let expiryDue = reader.readLittleEndian(UInt64.self), let willDue = reader.readLittleEndian(UInt64.self),
            let delay = reader.readLittleEndian(UInt32.self), let willExpiry = reader.readLittleEndian(UInt32.self),
            let count = reader.readLittleEndian(UInt32.self), let identifier = reader.readBytes(Int(count)),
            !identifier.isEmpty
        else { return nil }
        self.clientIdentifier = [UInt8](identifier)
        self.expirySeconds = expirySeconds
        self.version = version
        self.isConnected = flags & 1 != 0
        self.expiryDue = expiryDue
        self.willDue = willDue
        self.willDelaySeconds = delay
        self.willExpirySeconds = flags & 4 != 0 ? willExpiry : nil
        if flags & 2 != 0 { self.will = [UInt8](reader.readRest()) }
    }
}
