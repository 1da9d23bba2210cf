import Glibc
import Testing

@testable import Common

@Suite struct HeapTrimmerTests {
    private static let blockBytes = 20_000
    private static let blockCount = 15_000

    /// 300 MB, of which a block in twenty stays, so that little is free at the heap's end.
    /// - Returns: those that stay.
    private static func leaveFragments() -> [UnsafeMutableRawPointer] {
        let blocks = (0..<Self.blockCount).compactMap { _ in malloc(Self.blockBytes) }
        for block in blocks { memset(block, 1, Self.blockBytes) }
        for (index, block) in blocks.enumerated() where index % 20 != 0 { free(block) }
        return stride(from: 0, to: blocks.count, by: 20).map { blocks[$0] }
    }

    /// Other tests use the same heap, and may have more in use than this one frees: how much there is to give back is told here.
    @Test func `freed memory between blocks in use is given back at the second look`() throws {
        let kept = Self.leaveFragments()
        defer { kept.forEach { free($0) } }
        let trimmer = HeapTrimmer(usage: { HeapUsage(usedBytes: 0, freeBytes: 285 << 20) })
        let before = try #require(HeapUsage.residentBytes())
        #expect(trimmer.look() == nil, "it may be needed again at once")
        #expect(trimmer.look() != nil)
        let after = try #require(HeapUsage.residentBytes())
        #expect(after + (100 << 20) < before, "\(before) before, \(after) after")
        #expect(trimmer.trims == 1)
        #expect(HeapUsage.bytes > UInt64(kept.count * Self.blockBytes))
    }

    /// A heap of these mebibytes.
    private final class FakeHeap {
        var used: UInt64 = 0
        var free: UInt64 = 0
        /// Free, beside what is in use on the same page.
        var stuck: UInt64 = 0

        func makeTrimmer() -> HeapTrimmer {
            HeapTrimmer(
                usage: { HeapUsage(usedBytes: self.used << 20, freeBytes: self.free << 20) },
                giveBack: { self.free = min(self.free, self.stuck) }
            )
        }
    }

    @Test func `what is little, or little beside what is in use, stays`() {
        let heap = FakeHeap()
        let trimmer = heap.makeTrimmer()
        for (used, free) in [(0, 32), (100, 49), (1000, 500), (1, 0)] as [(UInt64, UInt64)] {
            (heap.used, heap.free) = (used, free)
            for _ in 0..<3 { #expect(trimmer.look() == nil) }
        }
        (heap.used, heap.free) = (1000, 501)
        #expect(trimmer.look() == nil)
        #expect(trimmer.look() == 501 << 20)
        #expect(trimmer.trims == 1)
    }

    @Test func `what was much for a moment stays`() {
        let heap = FakeHeap()
        let trimmer = heap.makeTrimmer()
        for _ in 0..<5 {
            heap.free = 300
            #expect(trimmer.look() == nil)
            heap.free = 10
            #expect(trimmer.look() == nil)
        }
    }

    @Test func `what could not be given back is not tried again, and what comes after it is`() {
        let heap = FakeHeap()
        (heap.used, heap.free, heap.stuck) = (50, 300, 200)
        let trimmer = heap.makeTrimmer()
        #expect(trimmer.look() == nil)
        #expect(trimmer.look() == 100 << 20)
        for _ in 0..<3 { #expect(trimmer.look() == nil) }
        heap.free = 250
        #expect(trimmer.look() == nil)
        #expect(trimmer.look() == 50 << 20)
        // It was used again, and is freed with what surrounded it.
        (heap.used, heap.free) = (250, 0)
        #expect(trimmer.look() == nil)
        (heap.used, heap.free, heap.stuck) = (10, 240, 0)
        #expect(trimmer.look() == nil)
        #expect(trimmer.look() == 240 << 20)
        #expect(trimmer.trims == 3)
    }
}
