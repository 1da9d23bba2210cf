import Glibc
import RouterStore

enum TemporaryStore {
    /// Gives `body` an empty store, and removes it then.
    static func with(_ body: (StoreFile) throws -> Void) throws {
        let directory = "/tmp/martlet-micro-\(getpid())"
        mkdir(directory, 0o700)
        defer {
            for suffix in ["", "-wal", "-shm", ".lock"] { unlink("\(directory)/store.db\(suffix)") }
            rmdir(directory)
        }
        try body(try StoreFile(path: "\(directory)/store.db", survivesPowerLoss: false))
    }
}
