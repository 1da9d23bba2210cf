import Common
import Glibc

/// The time that is written into the store: the wall clock's when the first router since the host's start began, and from then on that of
/// the host's own clock. Somebody who sets the wall clock, or a time server that corrects it by years, ends no session and publishes
/// no will with that.
///
/// What the two clocks differ by is in a file beside the store, with the kernel's boot id: after another start of the host there is
/// only the wall clock to go by.
package struct StoreClock: Sendable {
    /// The store's time less CLOCK_BOOTTIME, nanoseconds.
    package let offset: UInt64
    /// Why the file could not be read or written; the wall clock counts then.
    package let problem: String?
    private let path: String
    private let bootID: String

    /// - Parameters:
    ///   - path: of the file.
    ///   - bootID: of the host's start, as the kernel says it.
    package init(path: String, bootID: String = StoreClock.kernelBootID) {
        self.path = path
        self.bootID = bootID
        let wall = Clock.wall() &- Clock.bootTime()
        AtomicFile.removeLeftovers(of: path)
        switch Self.read(path) {
        case .success(let text?):
            let parts = text.split(separator: " ")
            if parts.count == 2, !bootID.isEmpty, parts[0] == bootID, let offset = UInt64(parts[1]) {
                self.offset = offset
                self.problem = nil
                return
            }
            self.problem = Self.write("\(bootID) \(wall)\n", path)
        case .success(nil): self.problem = Self.write("\(bootID) \(wall)\n", path)
        case .failure(let error): self.problem = error.description
        }
        self.offset = wall
    }

    /// Writes the file again if somebody has removed it.
    /// - Returns: why it could not be written.
    package func keep() -> String? {
        FileStamp(self.path) == nil ? Self.write("\(self.bootID) \(self.offset)\n", self.path) : nil
    }

    /// The store's time less CLOCK_MONOTONIC, which stands still while the host is suspended.
    package var monotonicOffset: UInt64 { Clock.bootTime() &- Clock.monotonic() &+ self.offset }

    /// Empty where the kernel does not say.
    package static var kernelBootID: String {
        guard case .success(let text?) = Self.read("/proc/sys/kernel/random/boot_id") else { return "" }
        return text
    }

    /// The first line; nil: there is no such file.
    private static func read(_ path: String) -> Result<String?, SystemError> {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return errno == ENOENT ? .success(nil) : .failure(SystemError("read \(path)")) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = Glibc.read(file, &bytes, bytes.count)
        guard count >= 0 else { return .failure(SystemError("read \(path)")) }
        return .success(String(decoding: bytes.prefix(count).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    private static func write(_ text: String, _ path: String) -> String? {
        do throws(SystemError) {
            try AtomicFile.write(Array(text.utf8), to: path, permissions: 0o600)
            return nil
        } catch {
            return error.description
        }
    }
}
