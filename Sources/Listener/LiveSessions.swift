import Common

/// Which live sessions were let in by which look-up key, and which of them are to be asked about again: because their row has
/// changed, because nobody knows what has changed, or because it was long ago.
///
/// Named changes are asked about at once. Everything else goes through one queue that is worked off at a bounded rate, so that a
/// Redis that has just come back is not overrun: all sessions when everything is in doubt, and those about which nobody could say
/// anything, after a delay that doubles each time.
struct LiveSessions {
    /// Sessions asked about per second when all are in doubt.
    static let sweepPerSecond = 2000

    /// No session is asked about more often only because time goes by.
    static let revalidationNanosecondsMin = Nanoseconds.perSecond

    /// Delays after the first, second, … answer that said nothing.
    static let retryDelaysNanoseconds: [UInt64] = [1, 2, 4, 8, 16, 32].map { $0 * Nanoseconds.perSecond }

    /// The sessions of one key.
    private enum Holders {
        case few([UInt64])
        /// Of access rows that a whole fleet has in common.
        case many(Set<UInt64>)

        static let fewMax = 32
    }

    private var holders: [UInt64: Holders] = [:]
    private var urgent: [UInt64] = []
    private var sweep: [UInt64] = []
    /// By delay; each in the order in which they are due.
    private var retries = [[(due: Instant, handle: UInt64)]](repeating: [], count: Self.retryDelaysNanoseconds.count)
    private var retryHeads = [Int](repeating: 0, count: Self.retryDelaysNanoseconds.count)
    private var sweepAllowance = 0
    private var lastRefill: Instant = 0
    /// Pairs of a session and a key.
    private(set) var count = 0

    mutating func add(_ handle: UInt64, keyHash: UInt64) {
        guard keyHash != 0 else { return }
        switch self.holders.removeValue(forKey: keyHash) {
        case nil:
            self.holders[keyHash] = .few([handle])
            self.count += 1
        case .few(var handles):
            if !handles.contains(handle) {
                handles.append(handle)
                self.count += 1
            }
            self.holders[keyHash] = handles.count > Holders.fewMax ? .many(Set(handles)) : .few(handles)
        case .many(var handles):
            if handles.insert(handle).inserted { self.count += 1 }
            self.holders[keyHash] = .many(handles)
        }
    }

    mutating func remove(_ handle: UInt64, keyHash: UInt64) {
        guard keyHash != 0, let holders = self.holders.removeValue(forKey: keyHash) else { return }
        switch holders {
        case .few(var handles):
            if let position = handles.firstIndex(of: handle) {
                handles.remove(at: position)
                self.count -= 1
            }
            if !handles.isEmpty { self.holders[keyHash] = .few(handles) }
        case .many(var handles):
            if handles.remove(handle) != nil { self.count -= 1 }
            if !handles.isEmpty { self.holders[keyHash] = .many(handles) }
        }
    }

    /// Rows were named as changed.
    mutating func changed(_ keyHashes: [UInt64]) {
        for hash in keyHashes {
            switch self.holders[hash] {
            case nil: break
            case .few(let handles): self.urgent += handles
            case .many(let handles): self.urgent += handles
            }
        }
    }

    /// Rows may have changed, and nobody knows which.
    mutating func allChanged() {
        // A sweep under way starts again: what it has asked about already may have changed since. Those whose turn has not come yet
        // keep it, however often that happens.
        var live: Set<UInt64> = []
        for holders in self.holders.values {
            switch holders {
            case .few(let handles): live.formUnion(handles)
            case .many(let handles): live.formUnion(handles)
            }
        }
        let unjudged = live.intersection(self.retries.joined().lazy.map(\.handle))
        live.subtract(unjudged)
        let waiting = self.sweep.filter { live.remove($0) != nil }
        // From the end: first those about whom nobody could say anything, whose rows may have been named as changed.
        self.sweep = Array(live) + waiting + unjudged
    }

    /// Is to be asked about when its turn comes.
    mutating func ask(_ handle: UInt64) {
        self.sweep.append(handle)
    }

    /// Nobody could say anything about it, for the `count`th time in a row.
    ///
    /// - Returns: when it is due.
    mutating func askLater(_ handle: UInt64, count: Int, now: Instant) -> Instant {
        let level = min(max(count, 1), Self.retryDelaysNanoseconds.count) - 1
        let due = now &+ Self.retryDelaysNanoseconds[level]
        self.retries[level].append((due, handle))
        return due
    }

    private mutating func takeRetries(now: Instant) {
        for level in self.retries.indices {
            var head = self.retryHeads[level]
            while head < self.retries[level].count, self.retries[level][head].due <= now {
                self.sweep.append(self.retries[level][head].handle)
                head += 1
            }
            if head == self.retries[level].count || head > 4096 {
                self.retries[level].removeFirst(head)
                head = 0
            }
            self.retryHeads[level] = head
        }
    }

    /// The sessions to ask about now. A session that is gone meanwhile is among them: the caller looks.
    mutating func takeDue(now: Instant) -> [UInt64] {
        var due = self.urgent
        self.urgent.removeAll()
        self.takeRetries(now: now)
        guard !self.sweep.isEmpty else { return due }
        self.refill(now)
        let count = min(self.sweepAllowance, self.sweep.count)
        due += self.sweep.suffix(count)
        self.sweep.removeLast(count)
        self.sweepAllowance -= count
        return due
    }

    /// More is to be asked about later, without a new event.
    var hasMore: Bool { !self.sweep.isEmpty }

    /// When the next of those is due about which nobody could say anything.
    var nextRetry: Instant? {
        self.retries.indices.compactMap { level in
            self.retryHeads[level] < self.retries[level].count ? self.retries[level][self.retryHeads[level]].due : nil
        }.min()
    }

    private mutating func refill(_ now: Instant) {
        let elapsed = min(now &- self.lastRefill, Nanoseconds.perSecond)
        let gained = Int(elapsed) * Self.sweepPerSecond / Int(Nanoseconds.perSecond)
        guard gained > 0 else { return }
        self.sweepAllowance = min(Self.sweepPerSecond / 4, self.sweepAllowance + gained)
        self.lastRefill = now
    }
}
