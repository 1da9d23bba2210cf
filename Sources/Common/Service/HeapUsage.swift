import CLinux
import Glibc

/// What this process has from malloc.
public struct HeapUsage {
    /// Had and not freed.
    var usedBytes: UInt64
    /// Freed, and kept by malloc in memory.
    var freeBytes: UInt64

    /// What this process has from malloc and has not given back; walks glibc's lists, so it is nothing to ask often.
    public static var bytes: UInt64 { martlet_heap().used }

    /// As costly.
    static func current() -> HeapUsage {
        let heap = martlet_heap()
        // For glibc, pages that were given back are free as before.
        guard let resident = Self.residentBytes() else { return HeapUsage(usedBytes: heap.used, freeBytes: heap.kept) }
        return HeapUsage(
            usedBytes: heap.used,
            freeBytes: min(heap.kept, resident > heap.used ? resident - heap.used : 0)
        )
    }

    /// Memory of this process that is there, without what is of files or shared: proc(5), statm; nil: /proc is not there.
    static func residentBytes() -> UInt64? {
        guard let text = try? Configuration.readFile("/proc/self/statm", bytesMax: 4096) else { return nil }
        let pages = String(decoding: text, as: UTF8.self).split(separator: " ").prefix(3).compactMap { UInt64($0) }
        guard pages.count == 3, pages[1] >= pages[2] else { return nil }
        return (pages[1] - pages[2]) * UInt64(getpagesize())
    }
}
