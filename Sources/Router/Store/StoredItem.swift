import Common

/// A message on its way to a session, as a value of the store.
struct StoredItem {
    /// Its key; not in the value.
    var number: UInt64 = 0
    /// 0: none is needed any more.
    var message: UInt64 = 0
    /// `free`: it waits and has no packet identifier. That of a QoS 1 message is not stored, for it may be sent twice.
    var stage = Inflight.Stage.free
    var packetIdentifier: UInt16 = 0
    /// Orders those under way by their first sending.
    var sequence: UInt64 = 0
    var qos = QoS.atLeastOnce
    var retain = false
    var identifier: UInt32 = 0
    var furtherIdentifiers: [UInt32] = []

    init() {}

    init(_ item: QueuedMessage, stage: Inflight.Stage, packetIdentifier: UInt16, sequence: UInt64) {
        self.number = item.number
        self.message = item.message.header.storeNumber
        self.stage = stage
        self.packetIdentifier = packetIdentifier
        self.sequence = sequence
        self.qos = item.qos
        self.retain = item.retain
        self.identifier = item.identifier
        self.furtherIdentifiers = item.furtherIdentifiers ?? []
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeLittleEndian(self.message)
        buffer.write(self.stage.rawValue)
        buffer.write(self.qos.level | (self.retain ? 4 : 0))
        buffer.writeLittleEndian(self.packetIdentifier)
        buffer.writeLittleEndian(self.sequence)
        buffer.writeLittleEndian(self.identifier)
        for identifier in self.furtherIdentifiers { buffer.writeLittleEndian(identifier) }
    }

    /// Nil: the value is broken.
    init?(_ value: UnsafeRawBufferPointer, number: UInt64) {
        var reader = ByteReader(value)
        guard let message = reader.readLittleEndian(UInt64.self), let stage = reader.readUInt8(),
            let known = Inflight.Stage(rawValue: stage), let flags = reader.readUInt8(), 1...2 ~= flags & 3,
            let packetIdentifier = reader.readLittleEndian(UInt16.self),
            let sequence = reader.readLittleEndian(UInt64.self), let identifier = reader.readLittleEndian(UInt32.self),
            reader.remaining % 4 == 0, known == .free || packetIdentifier != 0, known == .released || message != 0
        else { return nil }
        self.number = number
        self.message = message
        self.stage = known
        self.packetIdentifier = packetIdentifier
        self.sequence = sequence
        self.qos = QoS(level: flags & 3)
        self.retain = flags & 4 != 0
        self.identifier = identifier
        while let further = reader.readLittleEndian(UInt32.self) { self.furtherIdentifiers.append(further) }
    }
}
