import Common
import RouterStore

extension StoredItem {
    init(_ item: QueuedMessage, stage: Stage, packetIdentifier: UInt16, sequence: UInt64) {
        self.init()
        self.number = item.number
        self.message = item.message.header.storeNumber
        self.stage = stage
        self.packetIdentifier = packetIdentifier
        self.sequence = sequence
        self.qos = item.qos
        self.retain = item.retain
        self.identifier = item.identifier
        self.furtherIdentifiers = item.furtherIdentifiers
    }

    func queued(_ message: Message) -> QueuedMessage {
        var item = QueuedMessage(message: message, identifier: self.identifier, qos: self.qos, retain: self.retain)
        item.furtherIdentifiers = self.furtherIdentifiers
        item.number = self.number
        return item
    }
}
