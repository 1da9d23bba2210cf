import Common
import Glibc
import Synchronization

/// A page of memory that all processes have in common which map the same file: what one of them writes the others see at once, without
/// a system call. It outlives them; `sync` makes it outlive the host.
///
/// A process that is killed in the middle leaves each word as it was before or after: there is nothing to lock or to repair.
package final class SharedPage: @unchecked Sendable {
    private static let bytes = 4096
    package static let wordCount = SharedPage.bytes / 8

    package let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let memory: UnsafeMutableRawPointer
    private let isMapped: Bool

    private init(_ memory: UnsafeMutableRawPointer, isMapped: Bool) {
        self.memory = memory
        self.isMapped = isMapped
        self.words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.wordCount)
    }

    /// Of this process alone.
    package convenience init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.bytes, alignment: 64)
        memset(memory, 0, Self.bytes)
        self.init(memory, isMapped: false)
    }

    /// That of the file, which is made, full of zeros, where there is none.
    package convenience init(path: String) throws(CacheTrouble) {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CacheTrouble("open \(path)", errno: errno) }
        defer { close(file) }
        // The space is taken now: a full disk must not end the process when a word is written.
        let failure = posix_fallocate(file, 0, off_t(Self.bytes))
        guard failure == 0 else { throw CacheTrouble("make room for \(path)", errno: failure) }
        guard let memory = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), memory != MAP_FAILED
        else { throw CacheTrouble("map \(path)", errno: errno) }
        self.init(memory, isMapped: true)
    }

    deinit {
        if self.isMapped { munmap(self.memory, Self.bytes) } else { self.memory.deallocate() }
    }

    /// On disk when it returns.
    package func sync() {
        if self.isMapped { msync(self.memory, Self.bytes, MS_SYNC) }
    }
}
