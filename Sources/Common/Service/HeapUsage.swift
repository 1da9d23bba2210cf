import CLinux
import Glibc

/// What this process has from malloc.
public struct HeapUsage {
    /// Had and not freed.
    var usedBytes: UInt64
    /// Freed, and kept by malloc in memory.
    var freeBytes: UInt64

    /// What this process has from malloc and has not given back; walks malloc's lists, so it is nothing to ask often.
    public static var bytes: UInt64 { martlet_heap_bytes() }

    /// As costly.
    static func current() -> HeapUsage {
        let information = mallinfo2()
        let used = UInt64(information.uordblks) + UInt64(information.hblkhd)
        let free = UInt64(information.fordblks)
        // For malloc, pages that were given back are free as before.
        guard let resident = Self.residentBytes() else { return HeapUsage(usedBytes: used, freeBytes: free) }
        return HeapUsage(usedBytes: used, freeBytes: min(free, resident > used ? resident - used : 0))
    }

    /// Memory of this process that is there, without what is of files or shared: proc(5), statm; nil: /proc is not there.
    static func residentBytes() -> UInt64? {
        guard let text = try? Configuration.readFile("/proc/self/statm", bytesMax: 4096) else { return nil }
        let pages = String(decoding: text, as: UTF8.self).split(separator: " ").prefix(3).compactMap { UInt64($0) }
        guard pages.count == 3, pages[1] >= pages[2] else { return nil }
        return (pages[1] - pages[2]) * UInt64(getpagesize())
    }
}
