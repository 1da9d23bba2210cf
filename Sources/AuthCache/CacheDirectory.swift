import Common
import Glibc
import SQLite
import TLS

/// The folder that all auth workers of a host share:
///
/// ```
///  host.key        32 random bytes, 0600: passwords that Redis holds in clear are kept as HMACs under it
///  current         the name of the file in use, one line
///  cache-000001.db the rows (SQLite, with its -wal and -shm, and a -lock for who writes)
///  clock           what the host's own clock and the time of the rows differ by: see `CacheClock`
///  denials-…       what the workers know together about rows that vanish, for each source: see `DenialAccount`
///  lost-…          of which rows Redis is asked whether they are back, the same: see `LostRows`
///  marks-…         changes that the file lacks, the same: see `MissingMarks`
///  lock            flock(2) around creating and replacing the others
/// ```
///
/// A broken file is not repaired, renamed or removed while others have it open: a new one gets the next number, and `current`
/// is exchanged for one that names it.
package struct CacheDirectory: Sendable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    package var hostKeyPath: String { "\(self.path)/host.key" }
    private var pointerPath: String { "\(self.path)/current" }
    private var lockPath: String { "\(self.path)/lock" }

    package static let hostKeyBytes = 32
    /// It is held for milliseconds; a stopped process that holds it must not stop this one.
    package static let lockWaitNanoseconds = 2 * Nanoseconds.perSecond
    private static let fileNumberMax = 999_999
    /// Of the files of one number: SQLite's own, and the lock of those who write.
    package static let fileSuffixes = ["", "-wal", "-shm", Database.writerLockSuffix]

    package func filePath(_ number: Int) -> String {
        let digits = String(number)
        return "\(self.path)/cache-" + String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits + ".db"
    }

    /// Makes the folder, and those above it.
    package func create() throws(CacheTrouble) {
        var parent = ""
        for part in self.path.split(separator: "/") {
            parent += "/" + part
            guard mkdir(parent, 0o700) != 0, errno != EEXIST, errno != EROFS else { continue }
            throw CacheTrouble("create \(parent)", errno: errno)
        }
    }

    /// The host's key; made when there is none.
    ///
    /// - Parameters:
    ///   - otherwise: becomes the key where there is none; nil: a new one.
    ///   - waitNanoseconds: for other workers.
    package func loadHostKey(
        otherwise: [UInt8]? = nil,
        waitNanoseconds: UInt64 = CacheDirectory.lockWaitNanoseconds
    ) throws(CacheTrouble) -> [UInt8] {
        if let key = try self.readHostKey() { return key }
        return try self.withLock(waitNanoseconds: waitNanoseconds) { () throws(CacheTrouble) in
            // Another worker may have made it in the meantime.
            if let key = try self.readHostKey() { return key }
            let key = otherwise ?? SecureRandom.bytes(Self.hostKeyBytes)
            try self.replace(self.hostKeyPath, with: key)
            return key
        }
    }

    /// For a folder that holds nothing that was made under another key. To be called under the lock.
    package func setHostKey(_ key: [UInt8]) throws(CacheTrouble) {
        try self.replace(self.hostKeyPath, with: key)
    }

    /// Which Redis process the rows came from, by its own run id; nil when it is not known.
    package func redisRunID() -> [UInt8]? {
        guard let id = try? self.read("\(self.path)/redis-run-id", bytesMax: 128), !id.isEmpty else { return nil }
        return id
    }

    package func setRedisRunID(_ id: [UInt8]) throws(CacheTrouble) {
        try self.replace("\(self.path)/redis-run-id", with: id)
    }

    package func clock() -> [UInt8]? {
        (try? self.read("\(self.path)/clock", bytesMax: 64)) ?? nil
    }

    package func setClock(_ text: [UInt8]) throws(CacheTrouble) {
        try self.replace("\(self.path)/clock", with: text)
    }

    /// - Parameter source: which rows it is about, as in the rows themselves.
    package func denialsPath(source: [UInt8]) -> String { self.path("denials", of: source) }

    package func marksPath(source: [UInt8]) -> String { self.path("marks", of: source) }

    private func path(_ name: String, of source: [UInt8]) -> String {
        "\(self.path)/\(name)-" + String(decoding: Hex.encode(Array(source.prefix(8))), as: UTF8.self)
    }

    /// Of the last suspension of denial.
    package func lostRows(source: [UInt8]) -> LostRows? {
        let text = (try? self.read(self.path("lost", of: source), bytesMax: LostRows.textBytesMax)) ?? nil
        return text.flatMap { LostRows(text: $0) }
    }

    package func setLostRows(_ rows: LostRows, source: [UInt8]) throws(CacheTrouble) {
        try self.replace(self.path("lost", of: source), with: rows.text)
    }

    /// Another one after each start of the host; 0 where the kernel does not say.
    package static var bootNumber: UInt64 {
        let text = (try? CacheDirectory(path: "").read("/proc/sys/kernel/random/boot_id", bytesMax: 64)) ?? nil
        return Digest.sha256(text ?? []).prefix(7).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Nil: there is none yet.
    package func readHostKey() throws(CacheTrouble) -> [UInt8]? {
        guard let key = try self.read(self.hostKeyPath, bytesMax: Self.hostKeyBytes + 1) else { return nil }
        guard key.count == Self.hostKeyBytes else {
            throw CacheTrouble(
                "\(self.hostKeyPath) has not \(Self.hostKeyBytes) bytes: remove it, then it is made anew and cached plain"
                    + " passwords count no more"
            )
        }
        return key
    }

    /// The number of the file in use; nil when there is none yet.
    package func currentNumber() throws(CacheTrouble) -> Int? {
        guard let text = try self.read(self.pointerPath, bytesMax: 64) else { return nil }
        let line = String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        guard line.hasPrefix("cache-"), line.hasSuffix(".db"), let number = Int(line.dropFirst(6).dropLast(3)),
            (1...Self.fileNumberMax).contains(number)
        else { return nil }
        return number
    }

    /// To be called under the lock.
    package func setCurrent(_ number: Int) throws(CacheTrouble) {
        let name = self.filePath(number).split(separator: "/").last.map(String.init) ?? ""
        try self.replace(self.pointerPath, with: Array("\(name)\n".utf8))
    }

    /// The number after the largest that was ever used. To be called under the lock.
    ///
    /// - Parameter former: of a file that may have been removed.
    package func nextNumber(after former: Int = 0) throws(CacheTrouble) -> Int {
        var largest = max(try self.currentNumber() ?? 0, former)
        for number in self.fileNumbers() { largest = max(largest, number) }
        return largest >= Self.fileNumberMax ? 1 : largest + 1
    }

    /// An empty file for SQLite, which would make one that others of the host may read. To be called under the lock, and only
    /// for a new number: closing a file ends all of the process's locks on it (fcntl(2)).
    package func makeFile(_ number: Int) throws(CacheTrouble) {
        let path = self.filePath(number)
        let fileDescriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard fileDescriptor >= 0 else { throw CacheTrouble("create \(path)", errno: errno) }
        close(fileDescriptor)
    }

    /// Removes the files before `number`, all but the last, which people may want to look at. To be called under the lock.
    package func removeFiles(before number: Int) {
        for old in self.fileNumbers() where old < number - 1 {
            for suffix in Self.fileSuffixes { unlink(self.filePath(old) + suffix) }
        }
    }

    private func fileNumbers() -> [Int] {
        guard let directory = opendir(self.path) else { return [] }
        defer { closedir(directory) }
        var numbers: [Int] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix("cache-"), name.hasSuffix(".db"), let number = Int(name.dropFirst(6).dropLast(3)) {
                numbers.append(number)
            }
        }
        return numbers
    }

    /// No other worker creates or replaces anything meanwhile.
    package func withLock<Result>(
        waitNanoseconds: UInt64 = CacheDirectory.lockWaitNanoseconds,
        _ body: () throws(CacheTrouble) -> Result
    ) throws(CacheTrouble) -> Result {
        let lock: FileLock
        do throws(SystemError) {
            lock = try FileLock(path: self.lockPath)
            guard try lock.acquire(timeoutNanoseconds: waitNanoseconds) else {
                throw SystemError("lock \(self.lockPath)", code: EWOULDBLOCK)
            }
        } catch {
            throw CacheTrouble(error.description)
        }
        defer { lock.release() }
        return try body()
    }

    package var isReadOnlyFileSystem: Bool {
        var status = statvfs()
        return statvfs(self.path, &status) == 0 && status.f_flag & UInt(ST_RDONLY) != 0
    }

    // MARK: Small files

    private func read(_ path: String, bytesMax: Int) throws(CacheTrouble) -> [UInt8]? {
        let fileDescriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard fileDescriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw CacheTrouble("open \(path)", errno: errno)
        }
        defer { close(fileDescriptor) }
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        let count = Glibc.read(fileDescriptor, &bytes, bytesMax)
        guard count >= 0 else { throw CacheTrouble("read \(path)", errno: errno) }
        return Array(bytes.prefix(count))
    }

    private func replace(_ path: String, with bytes: [UInt8]) throws(CacheTrouble) {
        AtomicFile.removeLeftovers(of: path)
        do throws(SystemError) {
            try AtomicFile.write(bytes, to: path, permissions: 0o600)
        } catch {
            throw CacheTrouble(error.description)
        }
    }
}
