import Common
import RouterStore
import SQLite

// From the store to the state, before the first listener connects.
extension RouterCore {
    /// Takes over what the file holds.
    /// - Throws: what is wrong with the file; nothing of it is used then.
    package mutating func restore(from file: StoreFile, now: Instant) throws(StoreError) {
        self.now = now
        var restoring = Restoring()
        do throws(SQLiteError) {
            try self.restoreMessages(file, &restoring)
            try self.restoreSessions(file, &restoring)
            try self.restoreSubscriptions(file, &restoring)
            try self.restoreItems(file, &restoring)
            try self.restoreReceived(file, &restoring)
            try self.restoreCompleted(file, &restoring)
            try self.restoreRetained(file, &restoring)
            self.resumeRetained(restoring)
        } catch {
            throw StoreError(error, path: file.path)
        }
        guard restoring.broken == 0 else {
            throw StoreError(
                "the router's store \(file.path) holds \(restoring.broken) entries that make no sense. Nothing was changed. "
                    + "Restore a backup with `martlet store restore FILE`, or move the file away to start with nothing"
            )
        }
        self.changes.nextNumber = restoring.highest + 1
        self.changes.isOn = true
        for key in restoring.ownerless { self.changes.delete { $0.write(key) } }
        self.ownerlessEntries = restoring.ownerless.count
        if !self.sessionsByClient.isEmpty {
            self.settling.beginAgain(after: now &+ RouterLimits.restartGraceNanoseconds)
        }
        // The limits of the configuration were lowered.
        for message in restoring.notRetained { self.recordNotRetained(message) }
        for message in restoring.messages.values where message.header.storeReferences == 0 {
            // Nothing names it: left by a release that counted otherwise.
            message.header.storeReferences = 1
            self.letGo(message)
        }
    }

    private struct Restoring {
        var messages: [UInt64: Message] = [:]
        /// Index by number in the store.
        var sessions: [UInt64: UInt32] = [:]
        var notRetained: [Message] = []
        var awaitingRetained: [(session: Session, place: UInt32, options: UInt32, filter: [UInt8])] = []
        var highest: UInt64 = 0
        /// Keys of entries of sessions that are not there: nobody is to get what they are about.
        var ownerless: [[UInt8]] = []
        var broken = 0

        /// The session of an entry that should be there.
        mutating func session(_ number: UInt64, _ key: UnsafeRawBufferPointer) -> UInt32? {
            if let index = self.sessions[number] { return index }
            self.ownerless.append([UInt8](key))
            return nil
        }
    }

    private mutating func restoreMessages(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        let offset = self.storeOffset
        try file.rows.messages { number, value in
            guard let message = StoredMessage(value)?.message(storeOffset: offset) else {
                restoring.broken += 1
                return
            }
            message.header.storeNumber = number
            restoring.messages[number] = message
            restoring.highest = max(restoring.highest, number)
        }
    }

    private mutating func restoreSessions(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        var found: [(number: UInt64, session: StoredSession)] = []
        try file.rows.entries(StoreKey.session) { key, value in
            guard let number = StoreKey.number(key), let session = StoredSession(value) else {
                restoring.broken += 1
                return
            }
            found.append((number, session))
        }
        for (number, stored) in found {
            if SessionNumbers.isCounted(number) {
                restoring.highest = max(restoring.highest, number)
            } else {
                // The key of an entry: it is there once.
                _ = self.sessionNumbers.take(number)
            }
            guard self.sessionsByClient[stored.clientIdentifier] == nil,
                let session = self.restoreSession(number, stored)
            else {
                restoring.broken += 1
                continue
            }
            restoring.sessions[number] = session.index
        }
    }

    private mutating func restoreSession(_ number: UInt64, _ stored: StoredSession) -> Session? {
        let index = UInt32(truncatingIfNeeded: self.sessions.count)
        let session = Session(index: index, clientIdentifier: stored.clientIdentifier)
        if let bytes = stored.will {
            let decoded = bytes.withUnsafeBytes { StoredMessage($0)?.message(storeOffset: self.storeOffset) }
            guard let message = decoded else { return nil }
            session.will = Session.Will(
                message: message,
                delaySeconds: stored.willDelaySeconds,
                expirySeconds: stored.willExpirySeconds
            )
        }
        session.storeNumber = number
        session.isStored = true
        session.isDurable = stored.expirySeconds > 0
        session.connectStamp = stored.connectStamp
        session.isResumed = stored.isResumed
        session.isResending = stored.isResending
        session.expirySeconds = stored.expirySeconds
        session.version = stored.version
        // Of wills only those were stored that its rules allowed.
        session.setAccess(.allowEverything)
        if stored.isConnected {
            // Its listener says so in time, or it is gone.
            session.mayBeAttached = true
            let graceEnd = self.now &+ RouterLimits.restartGraceNanoseconds
            let expiry = UInt64(stored.expirySeconds) * Nanoseconds.perSecond
            let delay = UInt64(min(stored.willDelaySeconds, stored.expirySeconds)) * Nanoseconds.perSecond
            if session.will != nil { session.willDue = max(graceEnd, self.now &+ delay) }
            if stored.expirySeconds != UInt32.max { session.expiryDue = max(graceEnd, self.now &+ expiry) }
        } else {
            // A listener may hold a connection of it that was not stored yet, or a CONNECT that came in time: what came due meanwhile
            // waits for its word, but not for a client that comes anew, and too late.
            session.dueNotBefore = self.now &+ RouterLimits.relinkGraceNanoseconds
            if stored.willDue != 0, session.will != nil {
                session.willDue = StoredMessage.instant(stored.willDue, storeOffset: self.storeOffset)
            }
            if stored.expiryDue != 0 {
                session.expiryDue = StoredMessage.instant(stored.expiryDue, storeOffset: self.storeOffset)
            }
        }
        self.sessions.append(session)
        self.sessionsByClient[stored.clientIdentifier] = index
        self.schedule(session)
        return session
    }

    private mutating func restoreSubscriptions(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        var found: [(session: Session, number: UInt32, options: UInt32, awaitsRetained: Bool, filter: [UInt8])] = []
        let sessions = self.sessions
        try file.rows.entries(StoreKey.subscription) { key, value in
            guard key.count == 13, let number = StoreKey.number(key), let stored = StoredSubscription(value) else {
                restoring.broken += 1
                return
            }
            guard let index = restoring.session(number, key), let session = sessions[Int(index)] else { return }
            let own = key.loadUnaligned(fromByteOffset: 9, as: UInt32.self).bigEndian
            found.append((session, own, stored.options, stored.awaitsRetained, [UInt8](stored.filter)))
        }
        for (session, number, bits, awaitsRetained, filter) in found {
            guard let place = filter.withUnsafeBytes({ self.restoreSubscription($0, bits, session) }) else {
                restoring.broken += 1
                continue
            }
            var subscription = place
            subscription.number = number
            subscription.countedBytes = filter.withUnsafeBytes { Session.Subscription.countedBytes(of: $0) }
            session.subscriptions.append(subscription)
            session.lastSubscriptionNumber = max(session.lastSubscriptionNumber, number)
            if awaitsRetained, !subscription.isShared {
                restoring.awaitingRetained.append((session, subscription.place, bits, filter))
            }
        }
    }

    /// Retained messages that were on their way to a subscriber are sent from the start: it may get some of them twice.
    private mutating func resumeRetained(_ restoring: borrowing Restoring) {
        for (session, place, bits, filter) in restoring.awaitingRetained {
            let cursor = filter.withUnsafeBytes {
                RetainedCursor(
                    filter: $0,
                    options: Subscriber.Options(bits: bits),
                    place: place,
                    isRecorded: true,
                    store: &self.retained
                )
            }
            session.makePending().retainedCursors.append(cursor)
        }
    }

    private mutating func restoreSubscription(
        _ filter: UnsafeRawBufferPointer,
        _ bits: UInt32,
        _ session: Session
    ) -> Session.Subscription? {
        let options = Subscriber.Options(bits: bits)
        let subscriber = Subscriber(session: session.index, options: options)
        switch TopicFilter.parse(filter) {
        case .invalid:
            return nil
        case .shared(let group, let shared):
            let (place, result) = self.trie.addShared(
                filter: UnsafeRawBufferPointer(rebasing: filter[shared]),
                name: UnsafeRawBufferPointer(rebasing: filter[group]),
                subscriber
            )
            return result == .added ? Session.Subscription(place: place, isShared: true) : nil
        case .plain:
            let (place, result) = self.trie.add(filter: filter, subscriber)
            return result == .added ? Session.Subscription(place: place, isShared: false) : nil
        }
    }

    private mutating func restoreItems(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        var inflight: [UInt32: [UInt16: Inflight.Entry]] = [:]
        let sessions = self.sessions
        var bytes = 0
        var count = 0
        try file.rows.entries(StoreKey.item) { key, value in
            guard key.count == 17, let number = StoreKey.number(key), let own = StoreKey.number(key, at: 9),
                let stored = StoredItem(value, number: own)
            else {
                restoring.broken += 1
                return
            }
            restoring.highest = max(restoring.highest, own)
            guard let index = restoring.session(number, key), let session = sessions[Int(index)] else { return }
            let message = restoring.messages[stored.message]
            guard stored.stage == .released || message != nil else {
                restoring.broken += 1
                return
            }
            let item = message.map { stored.queued($0) }
            message?.header.storeReferences += 1
            switch stored.stage {
            case .waiting:
                guard let item else { return }
                session.queue.append(item)
                bytes += item.message.countedBytes
                count += 1
            case .published, .released:
                let isReleased = stored.stage == .released
                inflight[index, default: [:]][stored.packetIdentifier] = Inflight.Entry(
                    item: isReleased ? nil : item,
                    sequence: stored.sequence,
                    stage: isReleased ? .released : .published,
                    number: own
                )
            }
        }
        for (index, entries) in inflight { self.sessions[Int(index)]?.inflight = Inflight(restoring: entries) }
        self.queuedBytes += bytes
        self.queuedMessages += count
        for session in self.sessions {
            if let session { self.scheduleSweep(session) }
        }
    }

    private mutating func restoreReceived(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        let sessions = self.sessions
        var bytes = 0
        try file.rows.entries(StoreKey.received) { key, value in
            var reader = ByteReader(value)
            guard key.count == 11, let number = StoreKey.number(key), let named = reader.readLittleEndian(UInt64.self)
            else {
                restoring.broken += 1
                return
            }
            guard let index = restoring.session(number, key), let session = sessions[Int(index)] else { return }
            guard named == 0 || restoring.messages[named] != nil else {
                restoring.broken += 1
                return
            }
            let message = restoring.messages[named]
            message?.header.storeReferences += 1
            let identifier = key.loadUnaligned(fromByteOffset: 9, as: UInt16.self).bigEndian
            session.received.append(Session.ReceivedMessage(packetIdentifier: identifier, message: message))
            session.receivedBytes += message?.countedBytes ?? 0
            bytes += message?.countedBytes ?? 0
        }
        self.queuedBytes += bytes
    }

    private mutating func restoreCompleted(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        try file.rows.entries(StoreKey.completed) { key, _ in
            guard key.count == 17, let number = StoreKey.number(key), let exchange = StoreKey.number(key, at: 9) else {
                restoring.broken += 1
                return
            }
            guard let index = restoring.session(number, key), let session = self.sessions[Int(index)] else { return }
            self.exchanges(of: session).restore(exchange)
        }
    }

    private mutating func restoreRetained(_ file: StoreFile, _ restoring: inout Restoring) throws(SQLiteError) {
        var found: [Message] = []
        try file.rows.entries(StoreKey.retained) { key, value in
            var reader = ByteReader(value)
            guard let number = reader.readLittleEndian(UInt64.self), let message = restoring.messages[number],
                equalBytes(message.view.topic, UnsafeRawBufferPointer(rebasing: key[1...]))
            else {
                restoring.broken += 1
                return
            }
            message.header.storeReferences += 1
            found.append(message)
        }
        for message in found {
            guard case .full = self.retained.store(message) else { continue }
            self.counters.retainedRefused += 1
            restoring.notRetained.append(message)
        }
    }
}
