import Common
import Glibc

/// The file of bans, as `martlet ban` changes it: other lines, comments among them, stay as they are.
struct BanFile {
    let path: String
    /// Listeners refuse a file with more.
    var bansMax = BanList.bansMax
    /// Asked where the file is not there.
    ///
    /// - Throws: when it was, and is lost: a new one would lift all that listeners keep in force without it.
    var checkAbsence: () throws -> Void = {}

    /// Those in force, and the others.
    func load() throws -> BanList {
        if Folder.isAbsent(self.path) { try self.checkAbsence() }
        return try BanList.load(self.path)
    }

    /// Puts a ban in; one of the same subject is replaced.
    func add(_ ban: Ban) throws {
        try self.change { lines in
            lines.removeAll { Self.subject(of: $0) == ban.subject }
            lines.append(Array(ban.line.utf8))
        }
    }

    /// - Returns: whether there was one.
    func remove(_ subject: Ban.Subject) throws -> Bool {
        var wasThere = false
        try self.change { lines in
            let before = lines.count
            lines.removeAll { Self.subject(of: $0) == subject }
            wasThere = lines.count < before
        }
        return wasThere
    }

    private static func subject(of line: [UInt8]) -> Ban.Subject? {
        (try? Ban.parse(line))?.subject
    }

    private func read() throws -> [UInt8] {
        if Folder.isAbsent(self.path) {
            try self.checkAbsence()
            return []
        }
        do throws(ValueError) {
            return try Configuration.readFile(self.path, bytesMax: Configuration.bansFileBytesMax)
        } catch {
            throw CommandFailure("\(self.path): \(error.message)")
        }
    }

    /// Two commands at a time take turns. The file is replaced whole, so that nobody reads half of it.
    private func change(_ edit: (inout [[UInt8]]) throws -> Void) throws {
        let lock: FileLock
        do throws(SystemError) {
            // The same one by whichever link the file is reached.
            let lockPath = try AtomicFile.target(of: self.path) + ".lock"
            lock = try FileLock(path: lockPath)
            guard try lock.acquire(timeoutNanoseconds: 10 * Nanoseconds.perSecond) else {
                throw SystemError("lock \(lockPath)", code: EWOULDBLOCK)
            }
        } catch {
            throw CommandFailure(error.description)
        }
        defer { lock.release() }
        let text = try self.read()
        // A broken file is not made worse: its mistake is told.
        let count = try BanList.parse(text, file: self.path).count
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
        if lines.last?.isEmpty == true { lines.removeLast() }
        let linesBefore = lines.count
        try edit(&lines)
        guard lines.count <= linesBefore || count < self.bansMax else {
            throw CommandFailure(
                "\(self.path) holds \(self.bansMax) bans, and there can be no more: nothing is written. Remove some first (martlet ban "
                    + "remove), such as those that are over; many devices of one authority are better revoked by a list of it"
            )
        }
        let bytes = lines.flatMap { $0 + [UInt8(ascii: "\n")] }
        guard bytes.count <= Configuration.bansFileBytesMax || bytes.count < text.count else {
            throw CommandFailure(
                "\(self.path) would be longer than \(Configuration.bansFileBytesMax) bytes: nothing is written"
            )
        }
        AtomicFile.removeLeftovers(of: self.path)
        // Listeners run as another user. Nothing in it is secret.
        do throws(SystemError) {
            try AtomicFile.replace(bytes, at: self.path, permissionsIfNew: 0o644)
        } catch {
            throw CommandFailure(error.code == EPERM ? "\(error); run it as root, or as the owner" : error.description)
        }
    }
}
