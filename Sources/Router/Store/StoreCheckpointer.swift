import Common
import SQLite

/// The thread that copies the store's write-ahead log into its file, beside the commits: it waits for the disk, for tens of milliseconds
/// or, on a bad one, for seconds, and nobody waits for it.
///
/// It has a connection of its own. Before SQLite 3.51.3, a checkpoint that begins just when a commit starts the log anew can lose pages
/// (https://sqlite.org/wal.html#walresetbug). A commit starts it anew only when all of it was copied; so a checkpoint is only
/// asked for while something was not, and `StoreWriter`, which commits, copies the last part itself while this thread rests.
final class StoreCheckpointer: @unchecked Sendable {
    enum State {
        case idle
        case working
        /// It copied what was there when it began, or failed; until it is told to `rest`, or to begin again.
        case done
    }

    private let monitor = Monitor()
    private let path: String
    private var state = State.idle
    private var isStopping = false
    private var thread: JoinableThread?

    init(path: String) {
        self.path = path
    }

    /// - Throws: there is no thread to be had.
    func start() throws(SystemError) {
        self.thread = try JoinableThread { self.run() }
    }

    // MARK: For the thread that commits

    var current: State { self.monitor.locked { self.state } }

    func begin() {
        self.monitor.locked {
            self.state = .working
            self.monitor.signal()
        }
    }

    func rest() {
        self.monitor.locked { self.state = .idle }
    }

    /// Waits for it; for whoever would otherwise make the log grow without end.
    func wait() {
        self.monitor.locked {
            self.monitor.wait(nanoseconds: 60 * Nanoseconds.perSecond) { self.state != .working }
        }
    }

    /// Ends what it does, and the thread.
    func stop() {
        self.monitor.end(&self.thread) { self.isStopping = true }
    }

    // MARK: The thread

    private func run() {
        var database: Database?
        while self.next() {
            // What fails here is tried by the thread that commits, which has somebody to tell.
            do throws(SQLiteError) {
                let opened = try self.connection(database)
                database = opened
                try opened.checkpoint()
            } catch {
                database = nil
            }
            self.monitor.locked {
                self.state = .done
                self.monitor.signal()
            }
        }
    }

    private func connection(_ former: Database?) throws(SQLiteError) -> Database {
        if let former { return former }
        let database = try Database(path: self.path, access: .readWrite, busyTimeoutMilliseconds: 0)
        // A connection that has read nothing knows of no log.
        _ = try database.userVersion()
        return database
    }

    private func next() -> Bool {
        self.monitor.locked {
            while self.state != .working, !self.isStopping {
                self.monitor.wait(nanoseconds: 3600 * Nanoseconds.perSecond) {
                    self.state == .working || self.isStopping
                }
            }
            return !self.isStopping
        }
    }
}
