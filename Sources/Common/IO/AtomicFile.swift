import Glibc

/// Replaces files whole.
public enum AtomicFile {
    private static let suffix = ".tmp"
    /// Nobody opens a file, and has it unlocked for so long.
    private static let leftoverAgeSeconds = 10

    /// Writes a temporary file beside `path`, brings it to disk and renames it: who reads finds the old content or the new one, also after a
    /// power loss.
    public static func write(_ bytes: [UInt8], to path: String, permissions: mode_t) throws(SystemError) {
        try Self.write(bytes, to: path, permissions: permissions, owner: nil)
    }

    /// The same for a file that is its operator's: where `path` is a link, the file that it leads to is replaced, and whose the file is, and who may
    /// read it, stays as it was.
    ///
    /// - Parameter permissionsIfNew: where there is no file yet.
    /// - Throws: also where the owner cannot be kept, since others could not read the file then; nothing has changed.
    public static func replace(
        _ bytes: [UInt8],
        at path: String,
        permissionsIfNew: mode_t
    ) throws(SystemError) {
        let target = try Self.target(of: path)
        var former = stat()
        guard stat(target, &former) == 0 else {
            guard errno == ENOENT else { throw SystemError("cannot write \(target)") }
            return try Self.write(bytes, to: target, permissions: permissionsIfNew)
        }
        try Self.write(
            bytes,
            to: target,
            permissions: former.st_mode & 0o7777,
            owner: (user: former.st_uid, group: former.st_gid)
        )
    }

    /// As the kernel does (path_resolution(7)).
    private static let linksMax = 40

    /// Where links lead from `path`; itself where it is none. It need not be there.
    public static func target(of path: String) throws(SystemError) -> String {
        var target = path
        for _ in 0..<Self.linksMax {
            var text = [UInt8](repeating: 0, count: Int(PATH_MAX))
            let count = text.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.map { readlink(target, $0, bytes.count) } ?? -1
            }
            guard count >= 0 else {
                guard errno == EINVAL || errno == ENOENT else { throw SystemError("cannot follow \(path)") }
                return target
            }
            let link = String(decoding: text[..<count], as: UTF8.self)
            let folder = target.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(target[...$0]) } ?? ""
            target = link.utf8.first == UInt8(ascii: "/") ? link : folder + link
        }
        throw SystemError("cannot follow \(path)", code: ELOOP)
    }

    private static func write(
        _ bytes: [UInt8],
        to path: String,
        permissions: mode_t,
        owner: (user: uid_t, group: gid_t)?
    ) throws(SystemError) {
        let temporary = "\(path).\(String(UInt64.random(in: 0...UInt64.max), radix: 16))\(Self.suffix)"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions)
        guard descriptor >= 0 else { throw SystemError("cannot write \(path)") }
        // As long as this process lives, and writes, it is no leftover.
        flock(descriptor, LOCK_EX | LOCK_NB)
        var code: Int32 = 0
        if let owner { code = Self.give(descriptor, to: owner) }
        let isOwnerKept = code == 0
        if code == 0, fchmod(descriptor, permissions) != 0 { code = errno }
        if code == 0 { code = Self.writeAll(bytes, to: descriptor) }
        if code == 0, fsync(descriptor) != 0 { code = errno }
        if code == 0, rename(temporary, path) != 0 { code = errno }
        close(descriptor)
        guard code == 0 else {
            unlink(temporary)
            throw SystemError("cannot write \(path)\(isOwnerKept ? "" : " and leave it to its owner")", code: code)
        }
    }

    private static func give(_ descriptor: Int32, to owner: (user: uid_t, group: gid_t)) -> Int32 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return errno }
        if status.st_uid == owner.user, status.st_gid == owner.group { return 0 }
        return fchown(descriptor, owner.user, owner.group) == 0 ? 0 : errno
    }

    /// Removes temporary files whose writer was killed: regular files of this user with names that `write` gives, some seconds old, that no
    /// process is writing. For folders that are the broker's own.
    ///
    /// - Parameter name: only those that were to become the file of this name in the folder; nil: of any name.
    public static func removeLeftovers(in folder: String, of name: String? = nil) {
        guard let directory = opendir(folder) else { return }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let found = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let target = Self.target(ofTemporary: found), name == nil || name == target else { continue }
            Self.removeIfLeft("\(folder)/\(found)")
        }
    }

    /// The same of the file at `path` alone.
    public static func removeLeftovers(of path: String) {
        Self.removeLeftovers(in: PathText.folder(of: path), of: PathText.name(of: path))
    }

    /// Nil: it is no name that `write` gives.
    private static func target(ofTemporary name: String) -> String? {
        guard name.hasSuffix(Self.suffix) else { return nil }
        let stem = name.dropLast(Self.suffix.count)
        guard let dot = stem.lastIndex(of: "."), dot > stem.startIndex else { return nil }
        let digits = stem[stem.index(after: dot)...]
        let isNumber = digits.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        return (1...16).contains(digits.utf8.count) && isNumber ? String(stem[..<dot]) : nil
    }

    private static func removeIfLeft(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
            time(nil) - status.st_mtim.tv_sec >= Self.leftoverAgeSeconds, flock(descriptor, LOCK_EX | LOCK_NB) == 0
        else { return }
        unlink(path)
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return count == 0 ? EIO : errno }
                rest = rest.dropFirst(count)
            }
            return 0
        }
    }
}
