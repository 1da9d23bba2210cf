import Common
import Glibc

/// What the names of an open store's files stand for. A file that somebody has removed, moved away or replaced can be written to as before,
/// and nobody will ever read that.
struct StoreFileNames {
    /// The database, SQLite's log and the log's index.
    static let suffixes = ["", "-wal", "-shm"]

    let path: String
    /// By suffix; nil: there was no such file yet.
    private var stamps: [FileStamp?]
    /// Permissions of the database, and of the folder.
    let fileMode: mode_t
    let folderMode: mode_t

    /// To be made when all are open.
    init(path: String) {
        self.path = path
        self.stamps = Self.suffixes.map { FileStamp(path + $0) }
        self.fileMode = Self.mode(path) ?? 0o600
        self.folderMode = Self.mode(PathText.folder(of: path)) ?? 0o750
    }

    private static func mode(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
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
                self.stamps[index] = now
                continue
            }
            if !(now?.isOfSameFile(as: stamp) ?? false) { return name }
        }
        return nil
    }
}
