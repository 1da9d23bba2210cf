import Common
import Glibc

/// What the names of an open store's files stand for. A file that somebody has removed, moved away or replaced can be written to as before,
/// and nobody will ever read that.
struct StoreFileNames {
    /// The database, SQLite's log and the log's index.
    static let suffixes = ["", "-wal", "-shm"]

    let path: String
    /// By suffix; nil: there was no such file yet. Of the database: it was gone before this was made.
    private var stamps: [FileStamp?]
    /// The folder when its names were looked at last and were all in order, long after the last change in it; nil: they have to be
    /// looked at. The time of its last change (st_ctim) tells of each name that is made or removed in it; that of its last modification
    /// can be set back, as systemd-tmpfiles does.
    private var settledFolder: FileStamp?
    private let folder: String
    /// A change at the same time as another one leaves the folder's time as it is; the kernel's goes by ticks, of 10 ms at most.
    private static let settlesNanoseconds = 50 * Nanoseconds.perMillisecond
    /// Permissions of the database, and of the folder.
    let fileMode: mode_t
    let folderMode: mode_t

    /// To be made when all are open.
    init(path: String) {
        self.path = path
        self.folder = PathText.folder(of: path)
        self.stamps = Self.suffixes.map { FileStamp(path + $0) }
        self.fileMode = Self.mode(path) ?? 0o600
        self.folderMode = Self.mode(PathText.folder(of: path)) ?? 0o750
    }

    private static func mode(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    /// Whether nothing was made or removed in the folder since its names were found in order: one stat(2) instead of one of each.
    var isUntouched: Bool {
        guard let settled = self.settledFolder else { return false }
        return FileStamp(self.folder) == settled
    }

    /// Looks at names, which are all in order if `look` returns nil.
    mutating func settle<Loss>(_ look: (inout StoreFileNames) -> Loss?) -> Loss? {
        let before = FileStamp(self.folder)
        self.settledFolder = nil
        if let loss = look(&self) { return loss }
        let settled = Int64(clamping: Clock.wall()) &- Int64(Self.settlesNanoseconds)
        // What a symbolic link leads to is removed without a change in this folder.
        if let before, before.changedNanoseconds < settled, !self.hasLinks { self.settledFolder = before }
        return nil
    }

    private var hasLinks: Bool {
        Self.suffixes.contains { suffix in
            var status = stat()
            return lstat(self.path + suffix, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
        }
    }

    /// Whether the name of the database is still that of the open one.
    var hasDatabase: Bool {
        guard let stamp = self.stamps[0], let now = FileStamp(self.path) else { return false }
        return now.isOfSameFile(as: stamp)
    }

    /// The first name that is gone, or stands for another file now; nil: none.
    mutating func missing() -> String? {
        for index in self.stamps.indices {
            let name = self.path + Self.suffixes[index]
            let now = FileStamp(name)
            guard let stamp = self.stamps[index] else {
                if index == 0 { return name }
                self.stamps[index] = now
                continue
            }
            if !(now?.isOfSameFile(as: stamp) ?? false) { return name }
        }
        return nil
    }
}
