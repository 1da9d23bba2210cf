import AuthCache
import Common

/// Changes that were told while the cache file could not be written, as on a full disk: the auth workers that start later would take its
/// rows for current. It is in a page that all workers of the host have in common, whose space on the disk was taken before, and stays when
/// they end. A row that was fetched after the change counts again, so that nothing has to be taken out.
///
/// ```
///  word 0        layout
///       1        when the last of the changes of the keys below was told, milliseconds since 1970
///       2        changes of any key may be missing that were told until then, the same; 0: there are none
///      16 … 511  hashes of Redis keys; 0: none
/// ```
package final class MissingMarks {
    private static let layout: UInt64 = 1
    private static let lastAt = 1
    private static let anyUntil = 2
    private static let hashes = 16..<SharedPage.wordCount

    private let page: SharedPage

    package init(page: SharedPage = SharedPage()) {
        self.page = page
        self.prepare()
    }

    /// Other processes see what is noted, and those that start later.
    package var isShared: Bool { self.page.isShared }

    private func prepare() {
        guard !self.page.exchange(0, from: 0, to: Self.layout), self.page[0] != Self.layout else { return }
        // Of another layout nothing can be read.
        for index in 1..<SharedPage.wordCount { self.page[index] = 0 }
        self.page[0] = Self.layout
    }

    private func raise(_ index: Int, to time: Int64) {
        self.page.raise(index, to: UInt64(max(time, 1)))
    }

    /// See `SharedPage.relink`; no mark is lost by it.
    package func relink() {
        guard let former = self.page.relink() else { return }
        self.prepare()
        for index in [Self.lastAt, Self.anyUntil] { self.page.raise(index, to: former[index]) }
        for hash in former[Self.hashes] where hash != 0 { self.note(hash: hash) }
    }

    package func note(_ write: CacheWrite) {
        switch write {
        case .markChanged(let redisKey, let time), .markRelated(let redisKey, let time): self.note(redisKey, at: time)
        case .markAbsent(let key, let time, _): self.note(key.redisKey, at: time)
        case .markAllChanged(let time): self.raise(Self.anyUntil, to: time)
        case .store, .correctTime, .told: break
        }
    }

    private func note(_ redisKey: [UInt8], at time: Int64) {
        self.raise(Self.lastAt, to: time)
        self.note(hash: LookupKey.hash(of: redisKey))
    }

    private func note(hash: UInt64) {
        if Self.hashes.contains(where: { self.page[$0] == hash }) { return }
        if Self.hashes.contains(where: { self.page[$0] == 0 && self.page.exchange($0, from: 0, to: hash) }) { return }
        // There is no room for more: any row may be meant.
        self.raise(Self.anyUntil, to: Int64(clamping: self.page[Self.lastAt]))
        for index in Self.hashes { self.page[index] = 0 }
        // What another worker has noted meanwhile may have gone with them.
        self.raise(Self.anyUntil, to: Int64(clamping: self.page[Self.lastAt]))
    }

    /// The file's rows of the key are marked now.
    package func forget(_ redisKey: [UInt8]) {
        let hash = LookupKey.hash(of: redisKey)
        for index in Self.hashes where self.page[index] == hash { _ = self.page.exchange(index, from: hash, to: 0) }
    }

    /// Whether a row that was known current at that moment may lack a change.
    package func concern(_ key: LookupKey, knownCurrentMilliseconds: Int64) -> Bool {
        let anyUntil = Int64(clamping: self.page[Self.anyUntil])
        if anyUntil > 0, knownCurrentMilliseconds <= anyUntil { return true }
        guard knownCurrentMilliseconds <= Int64(clamping: self.page[Self.lastAt]) else { return false }
        let hash = key.hash
        let related = key.relatedHashes
        return Self.hashes.contains { self.page[$0] == hash || related.contains(self.page[$0]) }
    }
}
