import AuthCache
import Common
import SQLite

/// The cache file as the loop sees it: reads at once or not at all, hands writes to its thread.
package final class CredentialCache {
    package enum Event: Equatable, Sendable {
        /// The file was broken or removed; a new, empty one is in use.
        case replaced(reason: String)
        /// Another file than before is: what memory holds may not be in it.
        case exchanged
        /// Rows cannot be written, or the file not be read, at the moment; authentication goes on. Told once until `works`.
        case trouble(String)
        case works
        /// `close` is to be called of all caches of the process, and then `confirmClosed` of this one: it opens its file anew, to write it.
        case mustClose
        /// See `Authenticator.storeRefused`.
        case refused(LookupKey)
        /// See `Authenticator.marked`.
        case marked([CacheWrite])
    }

    package struct Counters: Equatable, Sendable {
        package var hits: UInt64 = 0
        package var misses: UInt64 = 0
        /// Locked, or not readable for another reason.
        package var notReadable: UInt64 = 0
    }

    package private(set) var counters = Counters()
    private let directory: CacheDirectory
    private let source: [UInt8]
    private let writer: CacheWriter
    private let clock: CacheClock
    private var file: CacheFile?
    /// Why the file cannot be read, or rows not be written, at the moment.
    private var readTrouble: String?
    private var writeTrouble: String?
    private var events: [Event] = []

    /// - Parameters:
    ///   - source: rows of another source are not seen: see `CredentialSource`.
    ///   - waker: woken when `takeEvents` has something.
    package init(
        directory: String,
        source: [UInt8],
        diskEntries: Int,
        negativeEntries: Int,
        lockedMaxNanoseconds: UInt64 = AuthLimits.cacheLockedMaxNanoseconds,
        clock: CacheClock = CacheClock(),
        waker: Waker.Handle
    ) {
        self.clock = clock
        self.directory = CacheDirectory(path: directory)
        self.source = source
        self.writer = CacheWriter(
            settings: CacheWriter.Settings(
                directory: self.directory,
                source: source,
                knownMax: max(1, diskEntries),
                absentMax: max(1, negativeEntries),
                lockedMaxNanoseconds: lockedMaxNanoseconds,
                clock: clock
            ),
            waker: waker
        )
    }

    /// Opens or makes the file. It may fail: then it is tried again, and `takeEvents` says why.
    ///
    /// - Parameter waits: until the file is open, at most two seconds.
    package func start(waits: Bool = true) {
        self.writer.start(waits: waits)
        self.takeWriterEvents()
    }

    /// Writes what waits and closes the file.
    package func stop() {
        self.writer.stop()
        self.file = nil
    }

    /// Reads of `body`, if there are many of them, cost less.
    package func snapshot(_ body: () -> Void) {
        // It stays open though one of the reads may find it unusable.
        guard let file = self.file else { return body() }
        file.snapshot(body)
    }

    package func read(_ key: LookupKey) -> CacheAnswer {
        guard let file = self.file else {
            self.counters.notReadable += 1
            return .notReadable
        }
        do throws(SQLiteError) {
            guard let row = try file.read(key) else {
                self.counters.misses += 1
                return .notFound
            }
            self.counters.hits += 1
            return .found(row)
        } catch {
            self.counters.notReadable += 1
            if error.isBusy { return .notReadable }
            self.file = nil
            if error.isCorrupt {
                self.writer.reportBroken(number: file.number)
            } else {
                self.tellReadTrouble(error.description)
            }
            return .notReadable
        }
    }

    /// See `CacheFile.keys`; empty where the file cannot be read.
    package func keys(of redisKey: [UInt8]) -> [LookupKey] {
        (try? self.file?.keys(of: redisKey)) ?? []
    }

    /// Redis keys of known rows, those that were known current last first; nil: the file cannot be read at the moment.
    ///
    /// - Parameters:
    ///   - span: when they were known current last, milliseconds since 1970.
    ///   - changedSince: of rows that were named as changed those are in it that were since then, the same.
    package func sampleOfKnownKeys(
        _ count: Int,
        in span: Range<Int64> = 0..<Int64.max,
        changedSince: Int64 = .max
    ) -> [[UInt8]]? {
        guard let file = self.file else { return nil }
        return try? file.sampleOfKnownKeys(count, in: span, changedSince: changedSince)
    }

    package var redisRunID: [UInt8]? {
        get { self.directory.redisRunID() }
        set { if let newValue { try? self.directory.setRedisRunID(newValue) } }
    }

    /// Those of the last suspension.
    package var lostRows: LostRows? {
        get { self.directory.lostRows(source: self.source) }
        set { if let newValue { try? self.directory.setLostRows(newValue, source: self.source) } }
    }

    /// Returns false when it is not going to be written.
    @discardableResult
    package func write(_ write: CacheWrite) -> Bool {
        self.writer.append(write)
    }

    /// The latest moment at which a row was known current; nil: there are none, or the file cannot be read.
    package var latestMilliseconds: Int64? { (try? self.file?.latestMilliseconds()) ?? nil }

    /// When changes were told to any worker; nil: the file cannot be read at the moment.
    package func toldSpans() -> ToldSpans? {
        guard let spans = try? self.file?.toldSpans() else { return nil }
        return ToldSpans(spans)
    }

    package func takeEvents() -> [Event] {
        self.takeWriterEvents()
        defer { self.events = [] }
        return self.events
    }

    /// What the file holds, counted.
    package var summary: Report.Block {
        var block: Report.Block = []
        guard let file = self.file else {
            block.add("file", "cannot be read just now")
            return block
        }
        block.add("file", self.directory.filePath(file.number))
        return block + ((try? file.summary(nowMilliseconds: self.clock.milliseconds)) ?? [])
    }

    /// For `status`: in words, and the writing thread's numbers.
    package func report(into report: inout StatusReport) {
        let counters = self.writer.counters
        if let trouble = self.writeTrouble ?? self.readTrouble {
            report.add("alarm", "the authentication cache is not usable at the moment: \(trouble)")
        }
        report.add("cache_file", self.file.map { self.directory.filePath($0.number) } ?? "none")
        report.add("cache_hits", self.counters.hits)
        report.add("cache_misses", self.counters.misses)
        report.add("cache_not_readable", self.counters.notReadable)
        report.add("cache_rows_written", counters.written)
        report.add("cache_transactions", counters.transactions)
        report.add("cache_writes_waiting", self.writer.waiting)
        report.add("cache_writes_dropped", counters.dropped)
        report.add("cache_write_failures", counters.failures)
        report.add("cache_rows_evicted", counters.evicted)
        report.add("cache_replacements", counters.replacements)
    }

    private func takeWriterEvents() {
        for event in self.writer.takeEvents() {
            switch event {
            case .opened(let number): self.open(number)
            case .mustClose: self.events.append(.mustClose)
            case .replaced(let reason): self.events.append(.replaced(reason: reason))
            case .exchanged: self.events.append(.exchanged)
            case .trouble(let reason):
                self.writeTrouble = reason
                self.events.append(.trouble(reason))
            case .works:
                self.writeTrouble = nil
                self.events.append(.works)
            case .refused(let key): self.events.append(.refused(key))
            case .marked(let marks): self.events.append(.marked(marks))
            }
        }
    }

    /// Called when the thread opened a file, and when a file could not be read before.
    private func open(_ number: Int) {
        self.file = nil
        do throws(SQLiteError) {
            self.file = try CacheFile(self.directory, number: number, source: self.source, use: .read)
            self.readTrouble = nil
        } catch {
            if error.isCorrupt {
                self.writer.reportBroken(number: number)
            } else if !error.isBusy {
                // Somebody who opens it at the same time is a matter of milliseconds.
                self.tellReadTrouble(error.description)
            }
        }
    }

    /// Until `reopenIfNeeded`, or until the writing thread has opened the file, nothing can be read.
    package func close() {
        self.file = nil
    }

    /// See `Event.mustClose`.
    package func confirmClosed() {
        self.writer.confirmClosed()
    }

    /// Tries again to open a file that could not be read; called once in a while.
    package func reopenIfNeeded() {
        guard self.file == nil, let number = try? self.directory.currentNumber() else { return }
        self.open(number)
    }

    private func tellReadTrouble(_ reason: String) {
        let isTold = self.readTrouble != nil
        self.readTrouble = reason
        guard !isTold else { return }
        self.events.append(.trouble(reason))
    }
}
