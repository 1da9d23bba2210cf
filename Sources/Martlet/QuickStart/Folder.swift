import Common
import Glibc

/// Folders that commands make and lock.
package enum Folder {
    /// Makes a folder and those above it, as `mkdir -p` does; a folder that is there keeps its permissions.
    package static func make(_ path: String, mode: mode_t = 0o755) throws(CommandFailure) {
        var status = stat()
        if stat(path, &status) == 0 {
            if status.st_mode & S_IFMT == S_IFDIR { return }
            throw CommandFailure("\(path) is not a folder")
        }
        if let parent = Self.parent(of: path) { try Self.make(parent) }
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            throw CommandFailure("cannot make the folder \(path): \(Configuration.describe(errno))")
        }
    }

    /// Makes a folder that nobody else can look into, in a place where others may write: one that is there already must be ours.
    package static func makePrivate(_ path: String) throws(CommandFailure) {
        if let parent = Self.parent(of: path) { try Self.make(parent) }
        if mkdir(path, 0o700) == 0 { return }
        guard errno == EEXIST else {
            throw CommandFailure("cannot make the folder \(path): \(Configuration.describe(errno))")
        }
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(),
            status.st_mode & 0o077 == 0
        else {
            throw CommandFailure("\(path) is there already, but is not a folder of ours alone (mode 0700); remove it")
        }
    }

    static func parent(of path: String) -> String? {
        let bytes = Array(path.utf8)
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")), slash > 0 else { return nil }
        return String(decoding: bytes[..<slash], as: UTF8.self)
    }

    /// The path without links and dots; it must be there.
    package static func resolve(_ path: String) throws(CommandFailure) -> String {
        guard let resolved = realpath(path, nil) else {
            throw CommandFailure("\(path): \(Configuration.describe(errno))")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    package static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    /// Whether nothing is there, as far as this user can see: neither is what is in a folder that is closed to him.
    static func isAbsent(_ path: String) -> Bool {
        access(path, F_OK) != 0 && errno == ENOENT
    }

    /// - Parameter absent: the sentence where nothing is at the path.
    /// - Throws: that one, or why this user cannot read what may be there.
    static func require(_ path: String, absent: @autoclosure () -> String) throws(CommandFailure) {
        guard access(path, R_OK) != 0 else { return }
        let code = errno
        throw CommandFailure(code == ENOENT ? absent() : Configuration.unreadable(path, code))
    }

    package static func writeFile(_ path: String, _ text: String, mode: mode_t = 0o644) throws(CommandFailure) {
        let temporary = "\(path).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard descriptor >= 0 else {
            throw CommandFailure("cannot write \(path): \(Configuration.describe(errno))")
        }
        let bytes = Array(text.utf8)
        let count = write(descriptor, bytes, bytes.count)
        let code = errno
        close(descriptor)
        guard count == bytes.count, rename(temporary, path) == 0 else {
            throw CommandFailure("cannot write \(path): \(Configuration.describe(count < 0 ? code : errno))")
        }
    }
}

/// A folder's lock: held until the object goes, or the process ends, however it ends.
package final class FolderLock {
    private let lock: FileLock

    /// - Parameter what: what is locked, for the message: `the folder /…/var`.
    package init(file path: String, what: String) throws(CommandFailure) {
        let isFree: Bool
        do throws(SystemError) {
            self.lock = try FileLock(path: path)
            isFree = try self.lock.acquire()
        } catch {
            throw CommandFailure("cannot lock \(what): \(error.description)")
        }
        guard isFree else {
            var bytes = [UInt8](repeating: 0, count: 16)
            let count = pread(self.lock.fileDescriptor, &bytes, bytes.count, 0)
            let owner = String(decoding: bytes.prefix(max(0, count)).prefix { $0 > 0x20 }, as: UTF8.self)
            let process = owner.isEmpty ? "" : " (process \(owner))"
            throw CommandFailure("another martlet run uses \(what) already\(process); stop it first")
        }
        let owner = Array("\(getpid())\n".utf8)
        _ = ftruncate(self.lock.fileDescriptor, 0)
        _ = pwrite(self.lock.fileDescriptor, owner, owner.count, 0)
    }
}
