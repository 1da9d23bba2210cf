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

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let memory: UnsafeMutableRawPointer
    /// Nil: it is of this process alone.
    private let path: String?
    private var state: CacheFileState?
    private var isMapped: Bool { self.path != nil }

    private init(_ memory: UnsafeMutableRawPointer, path: String?) {
        self.memory = memory
        self.path = path
        self.words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.wordCount)
    }

    /// Of this process alone.
    package convenience init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.bytes, alignment: 64)
        memset(memory, 0, Self.bytes)
        self.init(memory, path: nil)
    }

    /// That of the file, which is made, full of zeros, where there is none.
    package convenience init(path: String) throws(CacheTrouble) {
        let file = try Self.open(path)
        defer { close(file) }
        guard let memory = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), memory != MAP_FAILED
        else { throw CacheTrouble("map \(path)", errno: errno) }
        self.init(memory, path: path)
        self.state = CacheFileState(fileDescriptor: file)
    }

    private static func open(_ path: String) throws(CacheTrouble) -> Int32 {
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CacheTrouble("open \(path)", errno: errno) }
        // The space is taken now: a full disk must not end the process when a word is written.
        let failure = posix_fallocate(file, 0, off_t(Self.bytes))
        guard failure == 0 else {
            close(file)
            throw CacheTrouble("make room for \(path)", errno: failure)
        }
        return file
    }

    package subscript(index: Int) -> UInt64 {
        get { self.words[index].load(ordering: .sequentiallyConsistent) }
        set { self.words[index].store(newValue, ordering: .sequentiallyConsistent) }
    }

    /// - Returns: false: the word is another one by now, and stays.
    package func exchange(_ index: Int, from expected: UInt64, to desired: UInt64) -> Bool {
        self.words[index].compareExchange(
            expected: expected,
            desired: desired,
            ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// Where somebody has removed the file, one with what the page holds takes its place, or that of another process that was faster.
    /// Nothing where it cannot be made.
    package func relink() {
        guard let path = self.path, let state = self.state else { return }
        if let named = CacheFileState(path: path), named.isSameFile(as: state), named.bytes >= Self.bytes { return }
        guard let file = try? Self.open(path) else { return }
        defer { close(file) }
        var first: UInt64 = 0
        if pread(file, &first, 8, 0) == 8, first == 0 {
            guard pwrite(file, self.memory, Self.bytes, 0) == Self.bytes else { return }
        }
        // In the place of the other one, at once.
        guard mmap(self.memory, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == self.memory
        else {
            return
        }
        self.state = CacheFileState(fileDescriptor: file)
    }

    deinit {
        if self.isMapped { munmap(self.memory, Self.bytes) } else { self.memory.deallocate() }
    }

    /// On disk when it returns.
    package func sync() {
        if self.isMapped { msync(self.memory, Self.bytes, MS_SYNC) }
    }
}
