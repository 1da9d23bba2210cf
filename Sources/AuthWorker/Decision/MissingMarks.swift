import AuthCache
import Common

/// Changes that were told and that the cache file may lack: those that wait for its thread, and those that could not be written, as on a
/// full disk. Auth workers that start later would take its rows for current. It is in a page that all workers of the host have in common,
/// whose space on the disk was taken before, and stays when they end, however they do. A row that was fetched after the change counts
/// again, so that nothing has to be taken out of what a worker leaves that was killed.
///
/// ```
///  word 0        layout
///       1        when the last of the changes below was told, milliseconds since 1970
///       2        changes of any key are missing that were told until then, the same; 0: there are none
///       3       when a worker found that the page was damaged, the same
///      16 …  31  the same, as long as the file lacks what one worker has no room for below; 0: nothing
///      32 … 511  changes of one key, above a code of it, below when the last was told (see `Mark`); 0: none
/// ```
package final class MissingMarks {
    /// The key's code and the time in one word, which is never seen half written.
    private struct Mark {
        /// The lower bits of a time are not kept: it means the last moment that it can be.
        static let timeShift: UInt64 = 6

        var word: UInt64

        var code: UInt64 { self.word >> 32 }

        init(word: UInt64) {
            self.word = word
        }

        init(_ hash: UInt64, at time: Int64) {
            let units = UInt64(max(time, 1)) >> Self.timeShift
            self.word = Self.code(of: hash) << 32 | units & 0xFFFF_FFFF
        }

        static func code(of hash: UInt64) -> UInt64 { max(hash >> 32, 1) }

        /// How long before the last change of any key it was told at most.
        func units(before last: Int64) -> UInt64 {
            let lastUnits = UInt64(max(last, 0)) >> Self.timeShift
            return (lastUnits &- self.word) & 0xFFFF_FFFF
        }

        func until(_ last: Int64) -> Int64 {
            let lastUnits = UInt64(max(last, 0)) >> Self.timeShift
            let units = self.units(before: last)
            return Int64((lastUnits - min(units, lastUnits)) << Self.timeShift | (1 << Self.timeShift - 1))
        }
    }

    /// The last of the marks that a word stands for, if it is a word of this worker's, and its thread has not written it yet.
    private struct OwnMark {
        /// 0: there is none.
        var number: UInt64 = 0
        var word: UInt64 = 0
    }

    /// Of releases before: the hashes of the keys alone.
    private static let formerLayout: UInt64 = 1
    /// It says as well that the page was not overwritten.
    private static let layout: UInt64 = 0x4D61_726B_0000_0002
    private static let lastAt = 1
    private static let anyUntil = 2
    private static let damagedAt = 3
    private static let formerHashes = 16..<SharedPage.wordCount
    private static let anyKey = 16..<32
    private static let keys = 32..<SharedPage.wordCount
    /// Marks that are older are most likely those of a worker that was killed.
    private static let leftMilliseconds: Int64 = 60_000

    private let page: SharedPage
    /// The words of what waits for the file's thread, in its order; nil: it stays.
    private var waiting = FirstInFirstOut<Int?>()
    private var own = [OwnMark](repeating: OwnMark(), count: SharedPage.wordCount)
    private var noted: UInt64 = 0
    private var written: UInt64 = 0
    private var damageSeen: UInt64 = 0

    /// - Parameter nowMilliseconds: by the clock of the marks.
    package init(page: SharedPage = SharedPage(), nowMilliseconds: Int64 = 0) {
        self.page = page
        self.wasDamaged = self.prepare()
        if self.wasDamaged { self.distrust(until: nowMilliseconds) }
        self.damageSeen = page[Self.damagedAt]
    }

    /// Somebody has overwritten the page, or cut it short: what was noted is lost, and any row may be meant that was known by then.
    package private(set) var wasDamaged = false

    /// Whether this worker, or another one, has found that since it was asked last: nobody knows which rows have changed.
    func takeDamage() -> Bool {
        let damagedAt = self.page[Self.damagedAt]
        defer { self.damageSeen = damagedAt }
        return damagedAt > self.damageSeen
    }

    /// False: `relink` is to be called before anything else.
    package var isIntact: Bool { !self.page.isCut && self.page[0] == Self.layout }

    /// Other processes see what is noted, and those that start later.
    package var isShared: Bool { self.page.isShared }

    /// Returns whether what it holds cannot be read.
    private func prepare() -> Bool {
        guard !self.page.exchange(0, from: 0, to: Self.layout), self.page[0] != Self.layout else { return false }
        let isFormer = self.page[0] == Self.formerLayout
        if isFormer, Self.formerHashes.contains(where: { self.page[$0] != 0 }) {
            self.page.raise(Self.anyUntil, to: self.page[Self.lastAt])
        }
        for index in Self.formerHashes { self.page[index] = 0 }
        if !isFormer { for index in 1..<Self.formerHashes.lowerBound { self.page[index] = 0 } }
        self.page[0] = Self.layout
        return !isFormer
    }

    private func distrust(until now: Int64) {
        for index in [Self.lastAt, Self.anyUntil, Self.damagedAt] { self.raise(index, to: now) }
    }

    private func raise(_ index: Int, to time: Int64) {
        self.page.raise(index, to: UInt64(max(time, 1)))
    }

    private var last: Int64 { Int64(clamping: self.page[Self.lastAt]) }

    /// See `SharedPage.relink`; no mark is lost by it, unless the page was damaged.
    package func relink(nowMilliseconds: Int64) {
        let former = self.page.relink()
        self.wasDamaged = (former?[0] ?? self.page[0]) != Self.layout
        if self.prepare() || self.wasDamaged { self.distrust(until: nowMilliseconds) }
        guard let former, !self.wasDamaged else { return }
        for index in [Self.lastAt, Self.anyUntil, Self.damagedAt] { self.page.raise(index, to: former[index]) }
        let last = Int64(clamping: former[Self.lastAt])
        for index in Self.anyKey where former[index] != 0 && self.page[index] != former[index] {
            _ = self.placeOfAny(Int64(clamping: former[index]))
        }
        for index in Self.keys where former[index] != 0 && self.page[index] != former[index] {
            let mark = Mark(word: former[index])
            _ = self.place(of: mark) ?? self.placeOfAny(mark.until(last))
        }
    }

    // MARK: What is told

    /// In the page when it returns. `awaits` or `keep` is to be called next.
    package func note(_ write: CacheWrite) -> Int? {
        switch write {
        case .markChanged(let redisKey, let time), .markRelated(let redisKey, let time): self.note(redisKey, at: time)
        case .markAbsent(let key, let time, _): self.note(key.redisKey, at: time)
        case .markAllChanged(let time): self.placeOfAny(time)
        case .store, .correctTime, .told: nil
        }
    }

    private func note(_ redisKey: [UInt8], at time: Int64) -> Int? {
        self.raise(Self.lastAt, to: time)
        return self.place(of: Mark(LookupKey.hash(of: redisKey), at: time)) ?? self.placeOfAny(time)
    }

    /// The word at that place goes when the file's thread has written what was noted, which comes behind all that it waits for.
    package func awaits(_ place: Int?) {
        self.noted += 1
        self.waiting.append(place)
        guard let place else { return }
        self.own[place] = OwnMark(number: self.noted, word: self.page[place])
    }

    /// It is not going to be written.
    package func keep(_ place: Int?) {
        guard let place else { return }
        self.own[place] = OwnMark()
        guard Self.anyKey.contains(place) else { return }
        self.page.raise(Self.anyUntil, to: self.page[place])
    }

    /// The thread has written the next of its marks.
    package func forgetNext() {
        guard let place = self.waiting.popFirst() else { return }
        self.written += 1
        guard let place, self.own[place].number == self.written else { return }
        // Unless another worker has made room there, and noted something.
        _ = self.page.exchange(place, from: self.own[place].word, to: 0)
        self.own[place] = OwnMark()
    }

    // MARK: The page

    /// Where the mark is now; nil: there is no room.
    private func place(of mark: Mark) -> Int? {
        if let place = self.findPlace(of: mark) { return place }
        guard self.mergeLeft(Self.keys) else { return nil }
        return self.findPlace(of: mark)
    }

    private func findPlace(of mark: Mark) -> Int? {
        let first = Int(mark.code % UInt64(Self.keys.count))
        for offset in 0..<Self.keys.count {
            let index = Self.keys.lowerBound + (first + offset) % Self.keys.count
            let word = self.page[index]
            if word == 0 {
                if self.page.exchange(index, from: 0, to: mark.word) { return index }
                continue
            }
            // Another worker's stands for what that one was told of, and goes when that one has written it.
            guard Mark(word: word).code == mark.code, self.isOwn(index, word) else { continue }
            let last = self.last
            let isLater = mark.units(before: last) < Mark(word: word).units(before: last)
            if self.page.exchange(index, from: word, to: isLater ? mark.word : word) { return index }
        }
        return nil
    }

    /// Any key may be meant. Nil: that stays, because too many workers have something like that.
    private func placeOfAny(_ time: Int64) -> Int? {
        self.raise(Self.lastAt, to: time)
        let desired = UInt64(max(time, 1))
        // That of this worker, if it has one.
        for index in Self.anyKey {
            let word = self.page[index]
            guard self.isOwn(index, word) else { continue }
            if self.page.exchange(index, from: word, to: max(word, desired)) { return index }
        }
        func free() -> Int? { Self.anyKey.first { self.page.exchange($0, from: 0, to: desired) } }
        if let index = free() { return index }
        if self.mergeLeft(Self.anyKey), let index = free() { return index }
        self.page.raise(Self.anyUntil, to: desired)
        return nil
    }

    private func isOwn(_ index: Int, _ word: UInt64) -> Bool {
        self.own[index].number != 0 && self.own[index].word == word
    }

    /// Makes room: what is old is most likely for good, and there any row may be meant. Returns whether there is some now.
    private func mergeLeft(_ range: Range<Int>) -> Bool {
        let last = self.last
        var hasRoom = false
        for index in range {
            let word = self.page[index]
            guard word != 0 else {
                hasRoom = true
                continue
            }
            let until = self.until(index, word, last)
            guard until < last - Self.leftMilliseconds else { continue }
            self.raise(Self.anyUntil, to: until)
            if self.page.exchange(index, from: word, to: 0) { hasRoom = true }
        }
        return hasRoom
    }

    private func until(_ index: Int, _ word: UInt64, _ last: Int64) -> Int64 {
        Self.anyKey.contains(index) ? min(Int64(clamping: word), last) : Mark(word: word).until(last)
    }

    /// Whether a row that was known current at that moment may lack a change. Those of any key for which this worker lacked room are not
    /// meant: see `UnwrittenMarks`.
    package func concern(_ key: LookupKey, knownCurrentMilliseconds: Int64) -> Bool {
        let anyUntil = Int64(clamping: self.page[Self.anyUntil])
        if anyUntil > 0, knownCurrentMilliseconds <= anyUntil { return true }
        let last = self.last
        guard knownCurrentMilliseconds <= last | (1 << Mark.timeShift - 1) else { return false }
        for index in Self.anyKey {
            let word = self.page[index]
            guard word != 0, !self.isOwn(index, word) else { continue }
            if knownCurrentMilliseconds <= self.until(index, word, last) { return true }
        }
        let codes = ([key.hash] + key.relatedHashes).map(Mark.code)
        return Self.keys.contains { index in
            let word = self.page[index]
            guard word != 0, codes.contains(word >> 32) else { return false }
            return knownCurrentMilliseconds <= Mark(word: word).until(last)
        }
    }
}
