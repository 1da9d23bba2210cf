import Common
import Glibc
import Synchronization

/// A page of memory that all processes have in common which map the same file: what one of them writes the others see at once, without
/// a system call. It outlives them; `sync` makes it outlive the host.
///
/// A process that is killed in the middle leaves each word as it was before or after: there is nothing to lock or to repair.
///
/// Where the file cannot be had, as in a folder that is read-only, the page is of its process alone until `relink` finds that it can.
package final class SharedPage: @unchecked Sendable {
    private static let bytes = 4096
    package static let wordCount = SharedPage.bytes / 8

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let memory: UnsafeMutableRawPointer
    /// Nil: it stays that of this process alone.
    private let path: String?
    /// Of the file that is mapped; nil: there is none.
    private var state: FileStamp?
    /// The same file, open; -1: there is none.
    private var file: Int32 = -1

    /// Why the file could not be had when the page was made; nil: it could, or there is to be none.
    package let trouble: CacheTrouble?
    /// Other processes see what is written.
    package var isShared: Bool { self.state != nil }

    private init(_ memory: UnsafeMutableRawPointer, path: String?, trouble: CacheTrouble? = nil) {
        self.memory = memory
        self.path = path
        self.trouble = trouble
        self.words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.wordCount)
    }

    /// Of this process alone.
    package convenience init() {
        self.init(Self.ownMemory(), path: nil)
    }

    /// That of the file, which is made, full of zeros, where there is none. Where it cannot be opened for writing the page begins with what
    /// can be read of it, and `trouble` says why.
    package convenience init(path: String) {
        do throws(CacheTrouble) {
            let file = try Self.open(path)
            guard let memory = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), memory != MAP_FAILED
            else {
                defer { close(file) }
                throw CacheTrouble("map \(path)", errno: errno)
            }
            self.init(memory, path: path)
            self.state = FileStamp(fileDescriptor: file)
            self.file = file
        } catch {
            self.init(Self.ownMemory(readFrom: path), path: path, trouble: error)
        }
    }

    /// Full of zeros, or with what can be read of the file.
    private static func ownMemory(readFrom path: String? = nil) -> UnsafeMutableRawPointer {
        guard let memory = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { preconditionFailure("no memory for a page") }
        guard let path else { return memory }
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return memory }
        defer { close(file) }
        _ = pread(file, memory, Self.bytes, 0)
        return memory
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

    /// Somebody has cut the file short: who touches the page before `relink` ends the process.
    package var isCut: Bool {
        guard self.state != nil else { return false }
        return FileStamp(fileDescriptor: self.file).map { $0.bytes < Self.bytes } ?? true
    }

    /// Where the file could not be had before, or somebody has removed it, it is made and holds what the page holds; or that of another
    /// process that was faster takes the page's place. Nothing where it cannot be had, but that a page whose file was cut short is one of
    /// this process alone.
    ///
    /// - Returns: what the page held before, zeros where its file was cut short; nil: it is the same as before. What the page lacks of it
    ///   is to be put into it by whoever knows what the words mean.
    package func relink() -> [UInt64]? {
        guard let path = self.path else { return nil }
        if let state = self.state, let named = FileStamp(path), named.isOfSameFile(as: state),
            named.bytes >= Self.bytes
        {
            return nil
        }
        let isCut = self.isCut
        guard let file = try? Self.open(path) else { return isCut ? self.unlink() : nil }
        let former = isCut ? [UInt64](repeating: 0, count: Self.wordCount) : (0..<Self.wordCount).map { self[$0] }
        // In the place of the other one, at once.
        guard mmap(self.memory, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == self.memory
        else {
            close(file)
            return isCut ? self.unlink() : nil
        }
        self.closeFile()
        self.file = file
        self.state = FileStamp(fileDescriptor: file)
        // Of several processes that do this at once one fills it. Its first word comes first: whoever opens it then takes it as it is.
        guard self.exchange(0, from: 0, to: former[0]) else { return former }
        for index in 1..<Self.wordCount { _ = self.exchange(index, from: 0, to: former[index]) }
        return former
    }

    /// Goes on with a page of this process alone, full of zeros, which it returns.
    private func unlink() -> [UInt64] {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        guard mmap(self.memory, Self.bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == self.memory else {
            preconditionFailure("no memory for a page")
        }
        self.closeFile()
        self.state = nil
        return [UInt64](repeating: 0, count: Self.wordCount)
    }

    private func closeFile() {
        if self.file >= 0 { close(self.file) }
        self.file = -1
    }

    /// The word becomes that one, unless it is larger.
    package func raise(_ index: Int, to desired: UInt64) {
        while true {
            let former = self[index]
            if former >= desired || self.exchange(index, from: former, to: desired) { return }
        }
    }

    deinit {
        munmap(self.memory, Self.bytes)
        self.closeFile()
    }

    /// On disk when it returns.
    package func sync() {
        if self.isShared { msync(self.memory, Self.bytes, MS_SYNC) }
    }
}
