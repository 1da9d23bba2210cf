import Glibc

/// Replaces files whole.
public enum AtomicFile {
    /// Writes a temporary file beside `path`, brings it to disk and renames it: who reads finds the old content or the new one, also after a
    /// power loss.
    public static func write(_ bytes: [UInt8], to path: String, permissions: mode_t) throws(SystemError) {
        let temporary = "\(path).\(String(UInt64.random(in: 0...UInt64.max), radix: 16)).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions)
        guard descriptor >= 0 else { throw SystemError("cannot write \(path)") }
        var code: Int32 = 0
        if fchmod(descriptor, permissions) != 0 { code = errno }
        if code == 0 { code = Self.writeAll(bytes, to: descriptor) }
        if code == 0, fsync(descriptor) != 0 { code = errno }
        if close(descriptor) != 0, code == 0 { code = errno }
        if code == 0, rename(temporary, path) != 0 { code = errno }
        guard code == 0 else {
            unlink(temporary)
            throw SystemError("cannot write \(path)", code: code)
        }
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
