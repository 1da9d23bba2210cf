import Common
import RouterStore
import SQLite

/// The store's entries put together: which session has what, and whether everything that is named is there. What makes no sense
/// here is what a router would not start with, or would take out.
struct StoreContents {
    struct Session {
        var stored: StoredSession
        var filters: [[UInt8]] = []
        /// Numbers of messages, in order; 0: one of which only its packet identifier is kept.
        var messages: [UInt64] = []
        var received = 0
    }

    struct Message {
        var topic: [UInt8]
        var payload: [UInt8]
        var qos: QoS
        /// Seconds since 1970; nil: it does not expire.
        var expiry: UInt64?
        var properties: Properties
    }

    private(set) var sessions: [UInt64: Session] = [:]
    private(set) var messages: [UInt64: Message] = [:]
    /// Numbers of messages, by topic.
    private(set) var retained: [UInt64] = []
    private(set) var subscriptionCount = 0
    private(set) var queuedCount = 0
    /// Keys of entries that make no sense: broken, or about something that is not there.
    private(set) var senseless: [[UInt8]] = []
    private var clientIdentifiers: Set<[UInt8]> = []

    init(_ image: StoreImage) throws(SQLiteError) {
        try image.readLog()
        for kind in StoreKey.all {
            // Not while the rows are read, which is a closure of its own.
            var entries: [(key: [UInt8], value: [UInt8])] = []
            try image.forEach(kind) { entries.append(($0, $1)) }
            for (key, value) in entries {
                let makesSense = key.withUnsafeBytes { key in value.withUnsafeBytes { self.take(kind, key, $0) } }
                if !makesSense { self.senseless.append(key) }
            }
        }
    }

    private mutating func take(_ kind: UInt8, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        switch kind {
        case StoreKey.message: return self.takeMessage(key, value)
        case StoreKey.session: return self.takeSession(key, value)
        case StoreKey.retained: return self.takeRetained(key, value)
        default:
            guard let number = StoreKey.number(key), var session = self.sessions[number] else { return false }
            let makesSense =
                switch kind {
                case StoreKey.subscription: self.takeSubscription(key, value, &session)
                case StoreKey.item: self.takeItem(key, value, &session)
                case StoreKey.received: self.takeReceived(key, value, &session)
                // One that went on: its exchange.
                case StoreKey.completed: key.count == 17
                default: false
                }
            self.sessions[number] = session
            return makesSense
        }
    }

    private mutating func takeMessage(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        guard let number = StoreKey.messageNumber(key), let message = StoredMessage(value) else { return false }
        self.messages[number] = Message(
            topic: [UInt8](message.topic),
            payload: [UInt8](message.payload),
            qos: message.qos,
            expiry: message.expiry == UInt64.max ? nil : message.expiry / Nanoseconds.perSecond,
            // A router starts with a message whose properties are broken: clients see them as they are.
            properties: (try? Properties(ofMessage: message.properties)) ?? Properties()
        )
        return true
    }

    private mutating func takeSession(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        guard key.count == 9, let number = StoreKey.number(key), let stored = StoredSession(value),
            self.clientIdentifiers.insert(stored.clientIdentifier).inserted
        else { return false }
        self.sessions[number] = Session(stored: stored)
        return true
    }

    private mutating func takeRetained(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        guard let number = self.messageNumber(value), let message = self.messages[number],
            message.topic.elementsEqual(key.dropFirst())
        else { return false }
        self.retained.append(number)
        return true
    }

    private mutating func takeSubscription(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        _ session: inout Session
    ) -> Bool {
        guard key.count == 13, let stored = StoredSubscription(value),
            !session.filters.contains(where: { $0.elementsEqual(stored.filter) })
        else { return false }
        session.filters.append([UInt8](stored.filter))
        self.subscriptionCount += 1
        return true
    }

    private mutating func takeItem(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        _ session: inout Session
    ) -> Bool {
        guard key.count == 17, let number = StoreKey.number(key, at: 9), let item = StoredItem(value, number: number),
            item.stage == .released || self.messages[item.message] != nil
        else { return false }
        session.messages.append(item.message)
        self.queuedCount += 1
        return true
    }

    private func takeReceived(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        _ session: inout Session
    ) -> Bool {
        guard key.count == 11, let message = self.messageNumber(value), message == 0 || self.messages[message] != nil
        else { return false }
        session.received += 1
        return true
    }

    private func messageNumber(_ value: UnsafeRawBufferPointer) -> UInt64? {
        var reader = ByteReader(value)
        return reader.readLittleEndian(UInt64.self)
    }
}
