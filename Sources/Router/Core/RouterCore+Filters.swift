import Common

// SUBSCRIBE and UNSUBSCRIBE with all their topic filters, however many: what costs more than a turn goes on in the next ones, and what
// their client sends meanwhile waits behind it. See docs/adr/0021.
extension RouterCore {
    mutating func receivedSubscribe(
        _ packet: UnsafeRawBufferPointer,
        _ header: FixedHeader,
        _ session: Session
    ) throws(DecodeError) {
        let reader = try TopicFilterReader(packet, header: header, version: session.version)
        if reader.subscriptionIdentifier != 0, !self.offer(to: session).subscriptionIdentifiers {
            return self.close(session, .subscriptionIdentifiersNotSupported)
        }
        self.begin(reader, packet, session)
    }

    mutating func receivedUnsubscribe(
        _ packet: UnsafeRawBufferPointer,
        _ header: FixedHeader,
        _ session: Session
    ) throws(DecodeError) {
        self.begin(try TopicFilterReader(packet, header: header, version: session.version), packet, session)
    }

    private mutating func begin(_ reader: TopicFilterReader, _ packet: UnsafeRawBufferPointer, _ session: Session) {
        // What was answered before leaves for itself: it may have to wait for what this need not wait for.
        self.flushControl(session)
        var progress = UnfinishedFilters.Progress(reader)
        guard !self.advance(&progress, packet, session) else { return }
        guard let link = session.link else { return }
        let unfinished = UnfinishedFilters([UInt8](packet), progress)
        guard link.unfinishedFilterBytes + unfinished.countedBytes <= self.partialInputBytesMax else {
            return self.close(session, .quotaExceeded, "too many bytes of large SUBSCRIBE packets")
        }
        session.unfinishedFilters = unfinished
        link.unfinishedFilterBytes += unfinished.countedBytes
    }

    /// Goes on with what a former turn began.
    mutating func continueFilters(_ session: Session) {
        guard let unfinished = session.unfinishedFilters else { return }
        let isOver = unfinished.packet.withUnsafeBytes { self.advance(&unfinished.progress, $0, session) }
        if isOver, session.unfinishedFilters === unfinished, let link = session.link {
            self.dropUnfinishedFilters(session, link)
        }
    }

    /// It is done, or its connection ends in the middle: its client has no answer, and asks again.
    mutating func dropUnfinishedFilters(_ session: Session, _ link: RouterLink) {
        guard let unfinished = session.unfinishedFilters else { return }
        session.unfinishedFilters = nil
        link.unfinishedFilterBytes -= unfinished.countedBytes
        if session.hasBacklog { self.markForPump(session) }
    }

    // MARK: Slices

    /// Takes slices until nothing is left, or the session's turn is over.
    /// - Returns: whether nothing is left to do: the answer is on its way, or the connection is closed.
    private mutating func advance(
        _ progress: inout UnfinishedFilters.Progress,
        _ packet: UnsafeRawBufferPointer,
        _ session: Session
    ) -> Bool {
        let handle = session.handle
        let records = self.changes.records
        repeat {
            do {
                if !progress.isChecked { try self.checkSlice(&progress, packet, session) }
                if progress.isChecked, session.handle == handle { try self.takeSlice(&progress, packet, session) }
            } catch {
                self.close(session, error)
            }
            guard session.handle == handle else { return true }
            if self.changes.records != records { progress.group = self.changes.group }
            if progress.isDone {
                self.answer(progress, session)
                return true
            }
        } while self.work < self.workEnd
        return false
    }

    /// Looks at some filters: nothing is done before all are known to be well-formed.
    private mutating func checkSlice(
        _ progress: inout UnfinishedFilters.Progress,
        _ packet: UnsafeRawBufferPointer,
        _ session: Session
    ) throws(DecodeError) {
        for _ in 0..<RouterLimits.filtersPerSlice {
            guard let entry = try progress.reader.next(packet) else {
                // From its first SUBACK on its listener counts on the store.
                if progress.isSubscribe { self.bringIntoStore(session) }
                return self.checked(&progress)
            }
            progress.count += 1
            self.work &+= RouterLimits.workPerFilterRead &+ UInt64(entry.filter.count >> 4)
            guard progress.count <= RouterLimits.filtersPerPacketMax else {
                return self.close(session, .quotaExceeded, "too many topic filters in one packet")
            }
            if progress.isSubscribe, self.denyAction == .disconnect, !self.mayHave(entry, session) {
                self.counters.subscriptionsDenied += 1
                self.denials.note(session, .subscribe, entry.filter, entry.qos, now: self.now)
                return self.close(session, .notAuthorized)
            }
        }
    }

    private mutating func checked(_ progress: inout UnfinishedFilters.Progress) {
        progress.isChecked = true
        progress.reader.rewind()
        // A packet with more filters than a session may have is not looked at any further.
        guard progress.isSubscribe, progress.count > self.settings.session.maxSubscriptions else { return }
        progress.codes = Array(repeating: .quotaExceeded, count: progress.count)
        self.counters.subscriptionsDenied += UInt64(progress.count)
    }

    private mutating func takeSlice(
        _ progress: inout UnfinishedFilters.Progress,
        _ packet: UnsafeRawBufferPointer,
        _ session: Session
    ) throws(DecodeError) {
        for _ in 0..<RouterLimits.filtersPerSlice where !progress.isDone {
            guard let entry = try progress.reader.next(packet) else { return }
            self.work &+= RouterLimits.workPerFilter &+ UInt64(entry.filter.count >> 1)
            guard progress.isSubscribe else {
                let existed = self.unsubscribe(entry.filter, session)
                progress.codes.append(existed ? .success : .noSubscriptionExisted)
                continue
            }
            let reason = self.subscribe(session, entry, identifier: progress.reader.subscriptionIdentifier)
            if reason.isFailure { self.counters.subscriptionsDenied += 1 }
            if reason == .notAuthorized {
                self.denials.note(session, .subscribe, entry.filter, entry.qos, now: self.now)
            }
            // Its rules have changed since the filters were looked at.
            if reason == .notAuthorized, self.denyAction == .disconnect { return self.close(session, .notAuthorized) }
            progress.codes.append(reason)
        }
    }

    // MARK: The answer

    private mutating func answer(_ progress: borrowing UnfinishedFilters.Progress, _ session: Session) {
        let before = self.control.readableBytes
        let identifier = progress.reader.packetIdentifier
        if progress.isSubscribe {
            let codes = progress.codes.map { $0.subackReturnCode(for: session.version) }
            SubackPacket(packetIdentifier: identifier, returnCodes: codes)
                .encode(into: &self.control, version: session.version)
        } else {
            UnsubackPacket(packetIdentifier: identifier, reasonCodes: progress.codes)
                .encode(into: &self.control, version: session.version)
        }
        guard self.fits(since: before, session) else { return }
        self.countSent(packets: 1, bytes: 0)
        // The SUBACK goes before the retained messages.
        self.flushAnswer(progress.group, session)
        guard let pending = session.pending else { return }
        if session.heldCount > 0 { pending.retainedGroup = max(session.touchedGroup, progress.group) }
        self.markForPump(session)
    }

    /// Sends what was answered. What is subscribed for a connection alone goes on while nothing can be stored; what its client is told
    /// afterwards need not wait for that either.
    /// - Parameter group: the last group of changes in which there is something of it; 0: none.
    private mutating func flushAnswer(_ group: UInt64, _ session: Session) {
        if session.isStored, !session.isDurable {
            self.flushControl(session, unstoredGroup: group)
        } else {
            session.touchedGroup = max(session.touchedGroup, group)
            self.flushControl(session)
        }
        self.recordsBefore = self.changes.records
    }

    /// A client gets no packet above its maximum [MQTT-3.1.2-24]: if it cannot even take the answer that it asked for, it is
    /// closed.
    private mutating func fits(since start: Int, _ session: Session) -> Bool {
        let bytes = self.control.readableBytes - start
        if bytes <= session.maximumPacketBytes { return true }
        self.control.removeLast(bytes)
        self.close(session, .packetTooLarge, "the answer would be larger than the client's maximum packet size")
        return false
    }
}
