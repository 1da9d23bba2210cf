import AuthCache
import Common
import Glibc
import SQLite

/// The thread that writes the cache file. The loop hands it rows and never waits for it; what happened comes back as events.
///
/// All of the loop's and the thread's common state is behind one lock, which nobody holds while the disk works.
final class CacheWriter: @unchecked Sendable {
    enum Event: Equatable, Sendable {
        /// The file with this number can be read.
        case opened(number: Int)
        /// All of the process's connections to files of the folder are to be closed, and `confirmClosed` to be called then. Before long
        /// `opened` follows.
        case mustClose
        /// Another file than before is in use: what memory holds may not be in it.
        case exchanged
        /// The broken file was replaced by a new one.
        case replaced(reason: String)
        /// Rows cannot be written at the moment. Told once until `works`.
        case trouble(String)
        case works
        /// The file holds something newer.
        case refused(LookupKey)
        /// These marks are in the file. All come, in the order in which they were appended.
        case marked([CacheWrite])
    }

    struct Counters: Equatable, Sendable {
        var written: UInt64 = 0
        var transactions: UInt64 = 0
        /// Not taken, because too many were waiting.
        var dropped: UInt64 = 0
        var failures: UInt64 = 0
        var evicted: UInt64 = 0
        var replacements: UInt64 = 0
    }

    struct Settings: Sendable {
        var directory: CacheDirectory
        var source: [UInt8]
        var knownMax: Int
        var absentMax: Int
        /// A file that is locked for longer is trouble.
        var lockedMaxNanoseconds: UInt64
        var clock: CacheClock
    }

    private struct Shared {
        var queue: [CacheWrite] = []
        var events: [Event] = []
        var counters = Counters()
        var brokenNumber: Int?
        var isStopping = false
        var readersAreClosed = false
        /// The first attempt at opening is over.
        var hasTried = false

        /// There is work that does not wait for more.
        var isDue: Bool {
            self.isStopping || self.brokenNumber != nil || self.queue.isEmpty
                || self.queue.count >= AuthLimits.cacheWritesPerTransaction || self.queue.contains { !$0.mayWait }
        }
    }

    private let settings: Settings
    private let waker: Waker.Handle
    private let monitor = Monitor()
    private var shared = Shared()
    private var thread: JoinableThread?

    // Of the thread alone.
    private var file: CacheFile?
    /// Of the file that was in use last.
    private var lastState: FileStamp?
    private var inTrouble = false
    /// Connections of this process may have been opened while nothing could be written.
    private var mayBeReadOnly = false
    /// Since when each attempt to write found the file locked (`Clock.monotonic`).
    private var lockedSince: UInt64?
    private var writesUntilEviction = 0
    /// When marks without a row are removed next (`Clock.monotonic`).
    private var nextMarkRemoval: UInt64 = 0
    /// Rows alone are not written before this moment (`Clock.monotonic`).
    private var gathersUntil: UInt64 = 0

    init(settings: Settings, waker: Waker.Handle) {
        self.settings = settings
        self.waker = waker
    }

    // MARK: For the loop

    /// Starts the thread.
    ///
    /// - Parameter waits: for its first attempt at opening the file, at most two seconds.
    func start(waits: Bool) {
        do throws(SystemError) {
            self.thread = try JoinableThread { self.run() }
        } catch {
            return self.monitor.locked { self.shared.events.append(.trouble("no thread: \(error.reason)")) }
        }
        guard waits else { return }
        self.monitor.locked {
            self.monitor.wait(nanoseconds: 2 * Nanoseconds.perSecond) { self.shared.hasTried }
        }
    }

    /// Returns false when too many wait.
    func append(_ write: CacheWrite) -> Bool {
        self.monitor.locked {
            // A row that is not written is fetched again; a mark that is not keeps an old one alive.
            let waitingMax = AuthLimits.cacheWritesWaitingMax * (write.mayWait ? 1 : 2)
            guard self.shared.queue.count < waitingMax else {
                self.shared.counters.dropped += 1
                return false
            }
            self.shared.queue.append(write)
            let count = self.shared.queue.count
            // To begin gathering, or to end it.
            if count == 1 || count == AuthLimits.cacheWritesPerTransaction || !write.mayWait { self.monitor.signal() }
            return true
        }
    }

    /// The loop found the file broken.
    func reportBroken(number: Int) {
        self.monitor.locked {
            self.shared.brokenNumber = number
            self.monitor.signal()
        }
    }

    /// See `Event.mustClose`.
    func confirmClosed() {
        self.monitor.locked {
            self.shared.readersAreClosed = true
            self.monitor.signal()
        }
    }

    func takeEvents() -> [Event] {
        self.monitor.locked {
            defer { self.shared.events = [] }
            return self.shared.events
        }
    }

    var counters: Counters { self.monitor.locked { self.shared.counters } }
    var waiting: Int { self.monitor.locked { self.shared.queue.count } }

    /// Writes what waits, then ends the thread.
    func stop() {
        self.monitor.end(&self.thread) { self.shared.isStopping = true }
    }

    // MARK: The thread

    private enum Work {
        case write([CacheWrite])
        case replace(broken: Int)
        case inspect
        case stop
    }

    private func run() {
        self.open()
        self.monitor.locked {
            self.shared.hasTried = true
            self.monitor.signal()
        }
        while true {
            switch self.nextWork() {
            case .write(let batch): self.write(batch, isProof: self.inTrouble)
            case .replace(let number): self.replace(number, reason: "the file is damaged")
            case .inspect: self.inspect()
            case .stop:
                self.file = nil
                return
            }
        }
    }

    /// While in trouble it tries again once a second only.
    private func nextWork() -> Work {
        self.monitor.locked {
            self.monitor.wait(nanoseconds: AuthLimits.cacheInspectionNanoseconds) {
                self.shared.isStopping || self.shared.brokenNumber != nil
                    || (!self.inTrouble && !self.shared.queue.isEmpty)
            }
            let now = Clock.monotonic()
            if !self.inTrouble, now < self.gathersUntil {
                self.monitor.wait(nanoseconds: self.gathersUntil - now) { self.shared.isDue }
            }
            if let number = self.shared.brokenNumber {
                self.shared.brokenNumber = nil
                return .replace(broken: number)
            }
            if self.shared.isStopping && (self.shared.queue.isEmpty || self.inTrouble || self.file == nil) {
                return .stop
            }
            if self.file == nil || self.shared.queue.isEmpty { return .inspect }
            let batch = Array(self.shared.queue.prefix(AuthLimits.cacheWritesPerTransaction))
            return .write(batch)
        }
    }

    /// - Parameter isProof: also where the batch is empty, or changes nothing, the file is written.
    private func write(_ batch: [CacheWrite], isProof: Bool) {
        guard let file = self.file else { return }
        self.gathersUntil = Clock.monotonic() + AuthLimits.cacheGatheringNanoseconds
        do throws(SQLiteError) {
            if isProof { try file.proveWritable() }
            if !batch.isEmpty {
                let refused = try file.write(batch[...], wallMilliseconds: self.settings.clock.milliseconds)
                self.finish(batch, refused)
                try self.evictIfDue(file, added: batch.count)
                try self.removeMarksIfDue(file)
            }
            self.lockedSince = nil
            if isProof {
                self.mayBeReadOnly = false
                self.reportWorks()
            }
        } catch {
            self.monitor.locked { self.shared.counters.failures += 1 }
            if error.isCorrupt { return self.replace(file.number, reason: error.description) }
            if error.isReadOnly {
                if let loss = try? self.loss(of: file) { return self.replace(file.number, reason: loss) }
                self.file = nil
                self.mayBeReadOnly = true
            }
            // The batch stays at the front, and is tried again: a second later, or when another worker is done.
            guard error.isBusy else { return self.report(trouble: error.description) }
            // Without rows there is no hurry.
            if batch.isEmpty { return }
            self.noteLocked(error)
            usleep(20_000)
            // At the end there is no time to wait for others.
            if self.monitor.locked({ self.shared.isStopping }) { self.inTrouble = true }
        }
    }

    /// Others hold the lock for milliseconds; whoever keeps it is a program that was stopped, or is no auth worker.
    private func noteLocked(_ error: SQLiteError) {
        let now = Clock.monotonic()
        let since = self.lockedSince ?? now
        self.lockedSince = since
        guard now - since >= self.settings.lockedMaxNanoseconds else { return }
        let seconds = (now - since) / Nanoseconds.perSecond
        self.report(trouble: "locked by another program for more than \(seconds) s: \(error.description)")
    }

    /// Takes what was written off the queue.
    private func finish(_ batch: [CacheWrite], _ refused: [LookupKey]) {
        let marked = batch.filter { !$0.mayWait }
        self.monitor.locked {
            self.shared.queue.removeFirst(min(batch.count, self.shared.queue.count))
            self.shared.counters.written += UInt64(batch.count)
            self.shared.counters.transactions += 1
            // First: what is refused is read again.
            if !marked.isEmpty { self.shared.events.append(.marked(marked)) }
            for key in refused { self.shared.events.append(.refused(key)) }
        }
        if !refused.isEmpty || !marked.isEmpty { self.waker.wake() }
    }

    private func evictIfDue(_ file: CacheFile, added: Int) throws(SQLiteError) {
        self.writesUntilEviction -= added
        guard self.writesUntilEviction <= 0 else { return }
        self.writesUntilEviction = max(100, self.settings.knownMax / 100)
        let evicted = try file.evict(
            knownMax: self.settings.knownMax,
            absentMax: self.settings.absentMax,
            wallMilliseconds: self.settings.clock.milliseconds
        )
        self.monitor.locked { self.shared.counters.evicted += UInt64(evicted) }
    }

    private func removeMarksIfDue(_ file: CacheFile) throws(SQLiteError) {
        let now = Clock.monotonic()
        guard now >= self.nextMarkRemoval else { return }
        let age = AuthLimits.rowlessMarkMilliseconds
        self.nextMarkRemoval = now + UInt64(age) * Nanoseconds.perMillisecond
        let removed = try file.removeRowlessMarks(before: self.settings.clock.milliseconds - age)
        self.monitor.locked { self.shared.counters.evicted += UInt64(removed) }
    }

    // MARK: Opening and replacing

    private func inspect() {
        guard let file = self.file else { return self.open() }
        do throws(CacheTrouble) {
            if let loss = try self.loss(of: file) { return self.replace(file.number, reason: loss) }
            // Another worker may have replaced it.
            if try self.settings.directory.currentNumber() != file.number { self.open() }
            if self.inTrouble { return self.retry() }
            if self.file === file { self.removeMarksWhenIdle(file) }
        } catch {
            self.report(trouble: error.description)
        }
    }

    /// What somebody did to the file, or to its folder, that is open; nil: nothing.
    private func loss(of file: CacheFile) throws(CacheTrouble) -> String? {
        guard let number = try self.settings.directory.currentNumber() else {
            return "the folder's content was removed"
        }
        guard number == file.number, let opened = file.state else { return nil }
        guard let state = FileStamp(self.settings.directory.filePath(number)), state.isOfSameFile(as: opened)
        else { return "the file was removed" }
        guard state.bytes >= opened.bytes else { return "the file was cut short" }
        file.state = state
        return nil
    }

    /// Where the file is locked, or cannot be written, they stay until the next time.
    private func removeMarksWhenIdle(_ file: CacheFile) {
        do throws(SQLiteError) {
            try self.removeMarksIfDue(file)
        } catch {
            if error.isCorrupt { self.replace(file.number, reason: error.description) }
        }
    }

    /// Whether the trouble is over.
    private func retry() {
        let batch = self.monitor.locked { Array(self.shared.queue.prefix(AuthLimits.cacheWritesPerTransaction)) }
        self.write(batch, isProof: true)
    }

    private func open() {
        self.file = nil
        do throws(CacheTrouble) {
            try self.settings.directory.create()
            if self.mayBeReadOnly { try self.closeReaders() }
            let file = try self.settings.directory.withLock { () throws(CacheTrouble) in try self.openCurrent() }
            self.use(file)
            // SQLite opens a file that it can only read, too, and says nothing.
            self.retry()
        } catch {
            self.openForOthers()
            self.report(trouble: error.description)
        }
    }

    /// A process's connections to a file have SQLite's index of its log in common. One that was opened when that could not be written
    /// keeps all that are opened later from writing, until none is left.
    private func closeReaders() throws(CacheTrouble) {
        // While the folder cannot be written they are all there is.
        try self.settings.directory.withLock { () throws(CacheTrouble) in }
        self.monitor.locked { self.shared.readersAreClosed = false }
        self.tell(.mustClose)
        self.monitor.locked {
            self.monitor.wait(nanoseconds: AuthLimits.cacheClosingNanoseconds) {
                self.shared.readersAreClosed || self.shared.isStopping
            }
        }
    }

    /// What cannot be written may still be readable.
    private func openForOthers() {
        guard let number = try? self.settings.directory.currentNumber() else { return }
        self.mayBeReadOnly = true
        self.tell(.opened(number: number))
    }

    /// Under the lock.
    private func openCurrent() throws(CacheTrouble) -> CacheFile {
        let directory = self.settings.directory
        guard let number = try directory.currentNumber() else { return try self.makeNext() }
        do throws(SQLiteError) {
            return try CacheFile(directory, number: number, source: self.settings.source, use: .write)
        } catch {
            guard error.isCorrupt else { throw CacheTrouble(error) }
            self.monitor.locked { self.shared.counters.replacements += 1 }
            self.tell(.replaced(reason: error.description))
            return try self.makeNext()
        }
    }

    private func makeNext(after former: Int = 0) throws(CacheTrouble) -> CacheFile {
        let directory = self.settings.directory
        let number = try directory.nextNumber(after: former)
        try directory.makeFile(number)
        let file: CacheFile
        do throws(SQLiteError) {
            file = try CacheFile(directory, number: number, source: self.settings.source, use: .create)
        } catch {
            throw CacheTrouble(error)
        }
        try directory.setCurrent(number)
        directory.removeFiles(before: number)
        return file
    }

    /// - Parameter broken: the number of the file that is damaged, or is not there any more.
    private func replace(_ broken: Int, reason: String) {
        self.file = nil
        do throws(CacheTrouble) {
            try self.settings.directory.create()
            let file = try self.settings.directory.withLock { () throws(CacheTrouble) in
                // Another worker may have replaced it already.
                if let number = try self.settings.directory.currentNumber(), number != broken {
                    return try self.openCurrent()
                }
                self.monitor.locked { self.shared.counters.replacements += 1 }
                self.tell(.replaced(reason: reason))
                return try self.makeNext(after: broken)
            }
            self.use(file)
        } catch {
            self.report(trouble: error.description)
        }
    }

    private func use(_ file: CacheFile) {
        self.file = file
        self.writesUntilEviction = 0
        self.tell(.opened(number: file.number))
        if let last = self.lastState, let state = file.state, !state.isOfSameFile(as: last) { self.tell(.exchanged) }
        self.lastState = file.state ?? self.lastState
    }

    // MARK: Events

    private func report(trouble: String) {
        guard !self.inTrouble else { return }
        self.inTrouble = true
        self.tell(.trouble(trouble))
    }

    private func reportWorks() {
        guard self.inTrouble else { return }
        self.inTrouble = false
        self.tell(.works)
    }

    private func tell(_ event: Event) {
        self.monitor.locked { self.shared.events.append(event) }
        self.waker.wake()
    }
}
