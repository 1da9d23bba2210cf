import Common
import SQLite

/// The store's entries put together: which session has what, and whether everything that is named is there.
struct StoreContents {
    struct Session {
        var clientIdentifier: [UInt8]
        var expirySeconds: UInt32
        var isConnected: Bool
        var filters: [[UInt8]] = []
        /// Numbers of messages, in order; 0: one of which only its packet identifier is kept.
        var messages: [UInt64] = []
        var received = 0
    }

    struct Message {
        var topic: [UInt8]
        var payload: [UInt8]
        var qos: UInt8
    }

    private(set) var sessions: [UInt64: Session] = [:]
    private(set) var messages: [UInt64: Message] = [:]
    private(set) var retained: [(topic: [UInt8], message: UInt64)] = []
    private(set) var subscriptionCount = 0
    private(set) var queuedCount = 0
    /// Keys of entries that make no sense: broken, or about something that is not there.
    private(set) var senseless: [[UInt8]] = []

    init(_ image: StoreImage) throws(SQLiteError) {
        try image.readLog()
        for kind in StoreEntryKind.all {
            var entries: [StoreImage.Entry] = []
            try image.forEach(kind) { entries.append($0) }
            for entry in entries where !self.take(entry, kind) { self.senseless.append(entry.key) }
        }
    }

    static func number(_ key: [UInt8], at offset: Int = 1) -> UInt64? {
        guard key.count >= offset + 8 else { return nil }
        return key[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func take(_ entry: StoreImage.Entry, _ kind: UInt8) -> Bool {
        entry.value.withUnsafeBytes { value in
            var reader = ByteReader(value)
            switch kind {
            case StoreEntryKind.message: return self.takeMessage(entry.key, &reader)
            case StoreEntryKind.session: return self.takeSession(entry.key, &reader)
            case StoreEntryKind.subscription:
                guard entry.key.count == 13, let session = Self.number(entry.key), reader.readBytes(4) != nil,
                    self.sessions[session] != nil
                else { return false }
                self.sessions[session]?.filters.append([UInt8](reader.readRest()))
                self.subscriptionCount += 1
                return true
            case StoreEntryKind.item:
                guard entry.key.count == 17, let session = Self.number(entry.key), self.sessions[session] != nil,
                    let message = reader.readLittleEndian(UInt64.self), message == 0 || self.messages[message] != nil
                else { return false }
                self.sessions[session]?.messages.append(message)
                self.queuedCount += 1
                return true
            case StoreEntryKind.received:
                guard entry.key.count == 11, let session = Self.number(entry.key), self.sessions[session] != nil,
                    let message = reader.readLittleEndian(UInt64.self), message == 0 || self.messages[message] != nil
                else { return false }
                self.sessions[session]?.received += 1
                return true
            default:
                guard let message = reader.readLittleEndian(UInt64.self), let known = self.messages[message],
                    known.topic.elementsEqual(entry.key.dropFirst())
                else { return false }
                self.retained.append((known.topic, message))
                return true
            }
        }
    }

    private mutating func takeMessage(_ key: [UInt8], _ reader: inout ByteReader) -> Bool {
        guard key.count == 9, let number = Self.number(key), let qos = reader.readUInt8(), qos < 3,
            reader.readBytes(9) != nil, let topicBytes = reader.readLittleEndian(UInt32.self),
            let propertiesBytes = reader.readLittleEndian(UInt32.self), let topic = reader.readBytes(Int(topicBytes)),
            TopicName.isValid(topic), reader.readBytes(Int(propertiesBytes)) != nil
        else { return false }
        self.messages[number] = Message(topic: [UInt8](topic), payload: [UInt8](reader.readRest()), qos: qos)
        return true
    }

    private mutating func takeSession(_ key: [UInt8], _ reader: inout ByteReader) -> Bool {
        guard key.count == 9, let number = Self.number(key), reader.readUInt8() != nil, let flags = reader.readUInt8(),
            let expiry = reader.readLittleEndian(UInt32.self), reader.readBytes(24) != nil,
            let count = reader.readLittleEndian(UInt32.self), count > 0, let identifier = reader.readBytes(Int(count))
        else { return false }
        self.sessions[number] = Session(
            clientIdentifier: [UInt8](identifier),
            expirySeconds: expiry,
            isConnected: flags & 1 != 0
        )
        return true
    }
}
