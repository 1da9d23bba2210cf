import Common
import Glibc
import SQLite

// Somebody removes the files of a store that is in use, or moves them away. What is open can still be read, so nothing is lost as long as
// it is written once more before the process ends.
extension StoreFile {
    /// Which of its files somebody has removed, moved away or replaced; nil: none. Costs a stat(2) of the folder, and of each of them when
    /// something was made or removed in it.
    package func loss() -> String? {
        if self.names.isUntouched { return nil }
        return self.names.settle { names in
            let name = names.missing() ?? (self.lock.isInForce ? nil : self.path + StoreLock.suffix)
            return name.map { "\($0) was removed, or replaced by another file" }
        }
    }

    /// After a `loss`: the store with everything in it, in new files at its path, under a lock that others see. This object is to be let go
    /// then. Another store that is at the path by now is kept beside it. Where just the lock was lost, it is this object again.
    ///
    /// - Throws: somebody else uses the store that is at the path now, or it cannot be written. It can be tried again.
    package func writtenAnew() throws(StoreError) -> StoreFile {
        try self.makeFolder()
        if !self.lock.isInForce { self.lock = try Self.takeLock(self.path) }
        guard self.names.missing() != nil else { return self }
        let fresh = self.path + ".new"
        do {
            for suffix in StoreFileNames.suffixes + ["-journal"] { unlink(fresh + suffix) }
            try self.copy(to: fresh)
            try Self.synchronize(fresh)
            try self.clearPath()
            guard rename(fresh, self.path) == 0 else { throw SystemError("rename \(fresh)") }
            try Self.synchronize(PathText.folder(of: self.path))
        } catch {
            unlink(fresh)
            if let error = error as? SQLiteError { throw StoreError(error, path: self.path) }
            throw StoreError("\(error)")
        }
        return try StoreFile(
            path: self.path,
            survivesPowerLoss: self.survivesPowerLoss,
            checkpointPages: self.checkpointPages,
            lock: self.lock
        )
    }

    /// Also the one that it is in.
    private func makeFolder() throws(StoreError) {
        let folder = PathText.folder(of: self.path)
        for path in [PathText.folder(of: folder), folder] {
            guard mkdir(path, self.names.folderMode) == 0 || errno == EEXIST else {
                throw StoreError(SystemError("create \(path)").description)
            }
        }
    }

    private func copy(to path: String) throws {
        let statement = try self.database.prepare("VACUUM INTO ?")
        try statement.bind(path, at: 1)
        try statement.run()
        guard chmod(path, self.names.fileMode) == 0 else { throw SystemError("chmod \(path)") }
    }

    private static func synchronize(_ path: String) throws(SystemError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError("open \(path)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SystemError("fsync \(path)") }
    }

    /// A log beside a database that it is not of would be taken for its own.
    private func clearPath() throws(SystemError) {
        if self.names.hasDatabase {
            // Whole even if the process ends before the new one is there.
            try? self.checkpoint()
        } else if access(self.path, F_OK) == 0 {
            var number = 1
            while access("\(self.path).former-\(number)", F_OK) == 0 { number += 1 }
            for suffix in StoreFileNames.suffixes.reversed() where access(self.path + suffix, F_OK) == 0 {
                let target = "\(self.path).former-\(number)\(suffix)"
                guard rename(self.path + suffix, target) == 0 else { throw SystemError("rename \(self.path)\(suffix)") }
            }
        }
        for suffix in StoreFileNames.suffixes.dropFirst() {
            guard unlink(self.path + suffix) == 0 || errno == ENOENT else {
                throw SystemError("remove \(self.path)\(suffix)")
            }
        }
    }
}
