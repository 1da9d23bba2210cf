import Common

/// A message on its way to a session, as a value of the store.
package struct StoredItem {
    package enum Stage: UInt8 {
        /// It has no packet identifier. That of a QoS 1 message is not stored, for it may be sent twice.
        case waiting = 0
        case published = 1
        case released = 2
    }

    /// Its key; not in the value.
    package var number: UInt64 = 0
    /// 0: none is needed any more.
    package var message: UInt64 = 0
    package var stage = Stage.waiting
    package var packetIdentifier: UInt16 = 0
    /// Orders those under way by their first sending.
    package var sequence: UInt64 = 0
    package var qos = QoS.atLeastOnce
    package var retain = false
    package var identifier: UInt32 = 0
    /// Nil: none.
    package var furtherIdentifiers: [UInt32]?

    package init() {}

    /// Of its value.
    var encodedBytes: Int { 24 + 4 * (self.furtherIdentifiers?.count ?? 0) }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeLittleEndian(self.message)
        buffer.write(self.stage.rawValue)
        buffer.write(self.qos.rawValue | (self.retain ? 4 : 0))
        buffer.writeLittleEndian(self.packetIdentifier)
        buffer.writeLittleEndian(self.sequence)
        buffer.writeLittleEndian(self.identifier)
        guard let furtherIdentifiers = self.furtherIdentifiers else { return }
        for identifier in furtherIdentifiers { buffer.writeLittleEndian(identifier) }
    }

    /// Nil: the value is broken.
    package init?(_ value: UnsafeRawBufferPointer, number: UInt64) {
        var reader = ByteReader(value)
        guard let message = reader.readLittleEndian(UInt64.self), let stage = reader.readUInt8(),
            let known = Stage(rawValue: stage), let flags = reader.readUInt8(), 1...2 ~= flags & 3,
            let packetIdentifier = reader.readLittleEndian(UInt16.self),
            let sequence = reader.readLittleEndian(UInt64.self), let identifier = reader.readLittleEndian(UInt32.self),
            let qos = QoS(rawValue: flags & 3), reader.remaining % 4 == 0, known == .waiting || packetIdentifier != 0,
            known == .released || message != 0
        else { return nil }
        self.number = number
        self.message = message
        self.stage = known
        self.packetIdentifier = packetIdentifier
        self.sequence = sequence
        self.qos = qos
        self.retain = flags & 4 != 0
        self.identifier = identifier
        guard reader.remaining > 0 else { return }
        var furtherIdentifiers: [UInt32] = []
        while let further = reader.readLittleEndian(UInt32.self) { furtherIdentifiers.append(further) }
        self.furtherIdentifiers = furtherIdentifiers
    }
}
