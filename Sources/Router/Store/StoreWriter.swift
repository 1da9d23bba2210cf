import Common
import RouterStore
import SQLite

/// The thread that commits groups of changes. The loop hands it groups and never waits for it; a failed commit keeps its groups
/// and is tried again, and nothing in them is promised to anybody meanwhile.
///
/// What the loop and the thread share is behind one lock, which nobody holds while the disk works.
final class StoreWriter: @unchecked Sendable {
    struct Progress {
        var committed: UInt64 = 0
        /// What is wrong, while commits fail.
        var trouble: String?
        var transactions: UInt64 = 0
        var failures: UInt64 = 0
        var folds: UInt64 = 0
        /// How often it was written once more because somebody had removed its files.
        var rewrites: UInt64 = 0
        /// What had been removed the last time.
        var lastLoss = ""
    }

    /// The log is folded when it has grown to this, if so many entries would change: few enough for a fold to hold up commits by some
    /// tens of milliseconds. While most messages are done with sooner, it may grow further.
    private static let logBytesMin = 2 << 20
    private static let changedEntriesMax = 8192
    private static let logBytesMax = 8 << 20
    /// And when nothing was to be done for so long. Then it is also looked whether the files are still there.
    private static let idleNanoseconds = Nanoseconds.perSecond
    private static let retryNanoseconds = 200 * Nanoseconds.perMillisecond
    /// Each attempt copies the whole store.
    private static let rewriteRetryNanoseconds = Nanoseconds.perSecond
    /// What is left to be copied when commits wait for it; more is left to the other thread once more, so many times.
    private static let lastPagesMax = 256
    private static let checkpointRoundsMax = 8
    /// Commits wait when it is behind by so many times what makes a checkpoint due.
    private static let checkpointsBehindMax = 8

    private struct Shared {
        var groups: [(number: UInt64, records: [UInt8])] = []
        var progress = Progress()
        var isStopping = false
    }

    private let monitor = Monitor()
    private var shared = Shared()
    private let waker: Waker.Handle
    /// Of the thread alone, once it runs.
    private var file: StoreFile?
    private var thread: JoinableThread?
    private var checkpointer: StoreCheckpointer
    private var checkpointRounds = 0
    /// The last group that is in the file, whether or not anybody was told.
    private var lastAppended: UInt64 = 0

    init(file: StoreFile, waker: Waker.Handle) {
        self.file = file
        self.checkpointer = StoreCheckpointer(path: file.path)
        self.waker = waker
    }

    // MARK: For the loop

    func start() throws(StoreError) {
        do throws(SystemError) {
            self.thread = try JoinableThread { self.run() }
        } catch {
            throw StoreError("no thread for the router's store: \(error.reason)")
        }
    }

    /// Never drops: what bounds the queue is that the core takes no new messages while too much waits.
    func append(_ number: UInt64, _ records: [UInt8]) {
        self.monitor.locked {
            self.shared.groups.append((number, records))
            self.monitor.signal()
        }
    }

    var progress: Progress { self.monitor.locked { self.shared.progress } }

    /// Commits what waits, then ends the thread. A commit that fails is tried no more.
    func stop() {
        self.monitor.end(&self.thread) { self.shared.isStopping = true }
    }

    // MARK: The thread

    private func run() {
        self.startCheckpointer()
        let isDone = self.work()
        self.checkpointer.stop()
        // Closing moves everything into the one file.
        if isDone { self.file = nil }
    }

    private func startCheckpointer() {
        do throws(SystemError) {
            try self.checkpointer.start()
            self.file?.leavesCheckpoints = true
        } catch {
            // Then each is part of a commit.
        }
    }

    /// - Returns: whether everything is committed.
    private func work() -> Bool {
        while true {
            let (groups, isStopping) = self.next()
            if groups.isEmpty {
                let isWhole = self.keepsFiles()
                self.fold()
                if isStopping { return isWhole }
            } else if !self.commit(groups) {
                if isStopping { return false }
                self.monitor.locked {
                    self.monitor.wait(nanoseconds: Self.retryNanoseconds) { self.shared.isStopping }
                }
            } else if self.isFoldDue {
                self.fold()
            }
            self.checkpointIfDue()
        }
    }

    private var isFoldDue: Bool {
        guard let file = self.file, file.logBytes >= Self.logBytesMin else { return false }
        return file.logBytes >= Self.logBytesMax || file.changedEntries >= Self.changedEntriesMax
    }

    private func next() -> (groups: [(number: UInt64, records: [UInt8])], isStopping: Bool) {
        self.monitor.locked {
            self.monitor.wait(nanoseconds: Self.idleNanoseconds) {
                !self.shared.groups.isEmpty || self.shared.isStopping
            }
            return (self.shared.groups, self.shared.isStopping)
        }
    }

    private func commit(_ groups: [(number: UInt64, records: [UInt8])]) -> Bool {
        guard let last = groups.last else { return true }
        do throws(SQLiteError) {
            let new = groups.filter { $0.number > self.lastAppended }
            if !new.isEmpty { try self.file?.append(new.map(\.records)) }
            self.lastAppended = last.number
        } catch {
            self.fail(error.description)
            // What is in the file already makes room in the database's own log.
            if error.isDiskFull, case .idle = self.checkpointer.current { try? self.file?.checkpoint() }
            _ = self.keepsFiles()
            return false
        }
        // What is in a file that nobody will find is not stored.
        guard self.keepsFiles() else { return false }
        self.monitor.locked {
            self.shared.groups.removeFirst(groups.count)
            self.shared.progress.committed = last.number
            self.shared.progress.transactions += 1
            self.shared.progress.trouble = nil
        }
        self.waker.wake()
        self.file?.noteCommitted()
        return true
    }

    private func fail(_ trouble: String) {
        self.monitor.locked {
            self.shared.progress.failures += 1
            self.shared.progress.trouble = trouble
        }
        self.waker.wake()
    }

    /// Looks whether somebody has removed the files, and writes the store once more then: until it is done nothing is committed.
    ///
    /// - Returns: false: it could not be done before the end.
    private func keepsFiles() -> Bool {
        while let file = self.file, let loss = file.loss() {
            self.fail(loss)
            do throws(StoreError) {
                let anew = try file.writtenAnew()
                if anew !== file { self.use(anew) }
                self.monitor.locked {
                    self.shared.progress.trouble = nil
                    self.shared.progress.rewrites += 1
                    self.shared.progress.lastLoss = loss
                }
                self.waker.wake()
            } catch {
                self.fail("\(loss), and cannot be written anew: \(error)")
                let isStopping = self.monitor.locked {
                    self.monitor.wait(nanoseconds: Self.rewriteRetryNanoseconds) { self.shared.isStopping }
                    return self.shared.isStopping
                }
                if isStopping { return false }
            }
        }
        return true
    }

    /// The other thread has a connection to the former file.
    private func use(_ file: StoreFile) {
        self.checkpointer.stop()
        self.checkpointer = StoreCheckpointer(path: file.path)
        self.checkpointRounds = 0
        self.file = file
        self.startCheckpointer()
    }

    /// One that fails leaves the log as it is, and is tried again when more has come.
    private func fold() {
        guard let file = self.file, file.logBytes > 0 else { return }
        do throws(SQLiteError) {
            try file.fold()
            self.monitor.locked { self.shared.progress.folds += 1 }
        } catch {
            self.monitor.locked { self.shared.progress.failures += 1 }
        }
    }

    /// Most of a checkpoint is done beside the commits. The last part, of what was committed meanwhile, is not: only when all is
    /// copied does the log begin anew.
    private func checkpointIfDue() {
        guard let file = self.file, file.leavesCheckpoints else { return }
        switch self.checkpointer.current {
        case .idle:
            if file.isCheckpointDue { self.beginCheckpoint(file, round: 1) }
        case .working:
            if file.newPages >= Self.checkpointsBehindMax * file.checkpointPages { self.checkpointer.wait() }
        case .done:
            if file.newPages > Self.lastPagesMax, self.checkpointRounds < Self.checkpointRoundsMax {
                return self.beginCheckpoint(file, round: self.checkpointRounds + 1)
            }
            self.checkpointer.rest()
            guard !file.logIsNew else { return }
            do throws(SQLiteError) {
                try file.checkpoint()
            } catch {
                self.monitor.locked { self.shared.progress.failures += 1 }
            }
        }
    }

    private func beginCheckpoint(_ file: StoreFile, round: Int) {
        self.checkpointRounds = round
        file.noteCheckpoint()
        self.checkpointer.begin()
    }
}
