import AuthCache
import Common
import Logging
import TLS

/// What the folder of a cache gives: the key that plain passwords are kept under, and the clock of the rows. Where it cannot be had both
/// are those of this process alone, and nothing is written to disk.
struct CacheFolder {
    let hostKey: [UInt8]
    let clock: CacheClock
    /// There is a cache file to be used.
    let isUsable: Bool
    /// Why there is none although one is configured.
    private(set) var trouble: CacheTrouble?
    /// One that can be used after all; it takes the place of this one as soon as nothing is under way.
    private(set) var next: [UInt8]?
    private var triedAt: Instant = 0

    static func open(_ cache: Configuration.Authentication.Cache) -> CacheFolder {
        guard cache.enabled else { return CacheFolder(withoutFile: nil) }
        let directory = CacheDirectory(path: cache.directory)
        do throws(CacheTrouble) {
            try directory.create()
            AtomicFile.removeLeftovers(in: cache.directory)
            return CacheFolder(directory, hostKey: try directory.loadHostKey())
        } catch {
            return CacheFolder(withoutFile: error)
        }
    }

    init(_ directory: CacheDirectory, hostKey: [UInt8]) {
        self.hostKey = hostKey
        self.clock = CacheClock(directory)
        self.isUsable = true
    }

    private init(withoutFile trouble: CacheTrouble?) {
        self.hostKey = SecureRandom.bytes(CacheDirectory.hostKeyBytes)
        self.clock = CacheClock()
        self.isUsable = false
        self.trouble = trouble
    }

    /// Looks, once in a while, whether the folder can be used after all. Waits for nobody.
    mutating func tryAgain(_ directory: CacheDirectory, now: Instant) {
        guard self.trouble != nil, self.next == nil, now &- self.triedAt >= AuthLimits.cacheFolderNanoseconds else {
            return
        }
        self.triedAt = now
        do throws(CacheTrouble) {
            try directory.create()
            // Where there is no key, that of the process becomes the host's: sessions that were let in under it keep their tags.
            self.next = try directory.loadHostKey(otherwise: self.hostKey, waitNanoseconds: 0)
        } catch {
            self.trouble = error
        }
    }
}

// The cache file of the source, and its folder, which may come to be usable while the worker runs.
extension RedisSource {
    private var cacheDirectory: CacheDirectory { CacheDirectory(path: self.configuration.cache.directory) }

    /// Shared by the host's workers, which have a cache file in common.
    static func denials(
        _ settings: RedisSourceSettings,
        _ folder: CacheFolder,
        worker: Int,
        _ logger: Logger
    ) -> DenialAccount {
        guard folder.isUsable else { return DenialAccount() }
        let directory = CacheDirectory(path: settings.source.cache.directory)
        let page = SharedPage(path: directory.denialsPath(source: settings.cacheTag(hostKey: folder.hostKey)))
        if let trouble = page.trouble {
            logger.error("auth workers do not share what they know of lost rows", metadata: ["reason": "\(trouble)"])
        }
        let account = DenialAccount(page: page, worker: worker, boot: CacheDirectory.bootNumber)
        if account.wasDamaged { Self.tellDamaged("denials", logger) }
        return account
    }

    /// The same of changes that the file lacks.
    static func missingMarks(_ settings: RedisSourceSettings, _ folder: CacheFolder, _ logger: Logger) -> MissingMarks {
        guard folder.isUsable else { return MissingMarks() }
        let directory = CacheDirectory(path: settings.source.cache.directory)
        let page = SharedPage(path: directory.marksPath(source: settings.cacheTag(hostKey: folder.hostKey)))
        if let trouble = page.trouble {
            logger.error(
                "changes that are told and not yet in the cache file are forgotten with this process",
                metadata: ["reason": "\(trouble)"]
            )
        }
        let marks = MissingMarks(page: page, nowMilliseconds: folder.clock.milliseconds)
        if marks.wasDamaged { Self.tellDamaged("marks", logger) }
        return marks
    }

    /// What is not written by then, because the file is locked or the disk is full, stays noted for those that start later.
    func stopCache() {
        guard let cache = self.cache else { return }
        cache.stop()
        for case .marked(let marks) in cache.takeEvents() { self.authenticator.marked(marks) }
    }

    /// Nothing where there is no file to be used. It is not opened yet.
    func makeCache() throws(SystemError) {
        guard self.cacheFolder.isUsable else { return }
        let waker = try Waker(loop: self.loop) {}
        self.cacheWaker = waker
        self.cache = CredentialCache(
            directory: self.configuration.cache.directory,
            source: self.settings.cacheTag(hostKey: self.cacheFolder.hostKey),
            diskEntries: self.configuration.cache.diskEntries,
            negativeEntries: self.configuration.cache.negativeEntries,
            clock: self.clock,
            waker: waker.handle
        )
    }

    func tellCacheFolderTrouble() {
        guard let trouble = self.cacheFolder.trouble else { return }
        self.logger.error(
            "authentication cache not usable, only memory is used until it is",
            metadata: ["reason": "\(trouble)"]
        )
    }

    private func tendCacheFolder() {
        self.cacheFolder.tryAgain(self.cacheDirectory, now: self.loop.now)
    }

    /// Goes over to a folder that can be used now. What memory holds under the key of the process alone is fetched again: so not while
    /// Redis is away, nor while rows are held that it has lost.
    func useCacheFolderIfIdle() {
        guard let hostKey = self.cacheFolder.next, self.redis.isReady, self.authenticator.isIdle else { return }
        let folder = CacheFolder(self.cacheDirectory, hostKey: hostKey)
        let isTold = self.authenticator.told.isOpen
        self.endTold()
        self.authenticator = self.authenticator.afresh(
            checker: PasswordChecker(scheme: self.configuration.passwordHash, hostKey: hostKey),
            denials: Self.denials(self.settings, folder, worker: self.service.context.instance, self.logger),
            missingMarks: Self.missingMarks(self.settings, folder, self.logger)
        )
        self.cacheFolder = folder
        self.clock = folder.clock
        do throws(SystemError) {
            try self.makeCache()
        } catch {
            self.logger.error("authentication cache not usable", metadata: ["reason": "\(error)"])
        }
        self.cache?.start(waits: false)
        if isTold { self.beginTold() }
        self.beginDataCheck()
        self.logger.notice("authentication cache can be used now")
    }

    func addCacheStatus(to report: inout StatusReport) {
        if let cache = self.cache { return cache.report(into: &report) }
        guard let trouble = self.cacheFolder.trouble else { return }
        report.add("alarm", "the authentication cache is not usable at the moment: \(trouble)")
        report.add("cache_file", "none")
    }

    func scheduleCacheInspection() {
        guard self.configuration.cache.enabled else { return }
        self.loop.schedule(afterNanoseconds: AuthLimits.cacheInspectionNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.tendCacheFolder()
            self.cache?.reopenIfNeeded()
            self.tendPages()
            self.writeRowsOfMemory()
            self.tendTold()
            self.noticeSuspension()
            self.watchClock()
            self.scheduleCacheInspection()
        }
    }

    /// The file is another one than before, or the whole folder: what workers that start later need of it is put into it again.
    private func fillCacheFile(_ cache: CredentialCache) {
        _ = try? self.cacheDirectory.loadHostKey(otherwise: self.cacheFolder.hostKey, waitNanoseconds: 0)
        if let runID = self.dataCheck.runID { cache.redisRunID = runID }
        self.toldWrittenAt = 0
        self.rowsToWrite = self.authenticator.knownKeys
        self.writeRowsOfMemory()
    }

    /// What could not be written beside the rows.
    private func keepAgain(_ cache: CredentialCache) {
        self.clock.keep(in: self.cacheDirectory)
        if let runID = self.dataCheck.runID, cache.redisRunID != runID { cache.redisRunID = runID }
        guard let lost = self.dataCheck.lost, cache.lostRows != lost,
            lost.suspendedSince == self.authenticator.denialGuard.suspendedSinceMilliseconds
        else { return }
        cache.lostRows = lost
    }

    /// Some at a time: what waits for the file's thread is bounded.
    private func writeRowsOfMemory() {
        guard !self.rowsToWrite.isEmpty, let cache = self.cache else { return }
        for key in self.rowsToWrite.suffix(AuthLimits.rowsWrittenAgain) {
            if let write = self.authenticator.rowOfMemory(key, now: self.time) { cache.write(write) }
        }
        self.rowsToWrite.removeLast(min(AuthLimits.rowsWrittenAgain, self.rowsToWrite.count))
    }

    /// Whoever starts later must find what this process and others have in common.
    private func tendPages() {
        let wereShared = self.pagesAreShared
        let now = self.clock.milliseconds
        self.authenticator.denialGuard.relink(nowMilliseconds: now)
        self.authenticator.missingMarks.relink(nowMilliseconds: now)
        if self.authenticator.denialGuard.wasDamaged { Self.tellDamaged("denials", self.logger) }
        if self.authenticator.missingMarks.wasDamaged { Self.tellDamaged("marks", self.logger) }
        // Rows that are fetched again count again.
        if self.authenticator.missingMarks.takeDamage() { self.doubtAll() }
        guard !wereShared, self.pagesAreShared else { return }
        self.logger.notice("auth workers share what they know of lost rows and of changes again")
    }

    /// Before a turn's work, and before what comes ahead of it: no page may be touched once its file was cut short.
    func mendPages() {
        guard !self.authenticator.denialGuard.isIntact || !self.authenticator.missingMarks.isIntact else { return }
        self.tendPages()
    }

    private static func tellDamaged(_ name: String, _ logger: Logger) {
        logger.error(
            "a page that auth workers share was overwritten or cut short, a new one is begun",
            metadata: ["page": "\(name)"]
        )
    }

    private var pagesAreShared: Bool {
        self.authenticator.denialGuard.isShared && self.authenticator.missingMarks.isShared
    }

    func takeCacheEvents() {
        guard let cache = self.cache else { return }
        for event in cache.takeEvents() {
            switch event {
            case .replaced(let reason):
                self.logger.error(
                    "authentication cache was damaged or removed, a new one is filled with what memory holds",
                    metadata: ["reason": "\(reason)"]
                )
            case .exchanged:
                self.fillCacheFile(cache)
            case .trouble(let reason):
                self.logger.error(
                    "authentication cache not usable at the moment, authentication goes on without it",
                    metadata: ["reason": "\(reason)"]
                )
            case .mustClose:
                for source in self.service.redisSources { source.cache?.close() }
                cache.confirmClosed()
            case .works:
                self.logger.notice("authentication cache works again")
                self.keepAgain(cache)
            case .refused(let key):
                self.authenticator.storeRefused(key, now: self.time)
            case .marked(let marks):
                self.authenticator.marked(marks)
            }
        }
    }
}
