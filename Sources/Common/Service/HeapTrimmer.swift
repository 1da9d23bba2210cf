import CLinux
import Logging

/// Gives back to the kernel what malloc keeps of memory that was freed, after a large backlog say: glibc does so by itself only with what
/// lies at the end of its heap.
///
/// For processes that live long; in the loop's thread, for malloc's locks would have it wait for any other. What it costs goes with
/// what is given back, some 0.05 to 0.4 ms a mebibyte, and with the number of free pieces.
final class HeapTrimmer {
    /// Less than that, or than half of what is in use, is left to malloc, which will need it again.
    static let freeBytesMin: UInt64 = 32 << 20
    private static let intervalNanoseconds = 30 * Nanoseconds.perSecond
    /// The longer a look took, the later is the next one.
    private static let shareOfTime: UInt64 = 5000

    /// Times that memory was given back.
    private(set) var trims: UInt64 = 0
    /// It was much at the look before.
    private var wasMuch = false
    /// What could not be given back, for pages of it are in use: no reason to try again.
    private var unreturnable: UInt64 = 0
    private let usage: () -> HeapUsage
    private let giveBack: () -> Void

    init(
        usage: @escaping () -> HeapUsage = HeapUsage.current,
        giveBack: @escaping () -> Void = { martlet_heap_give_back() }
    ) {
        self.usage = usage
        self.giveBack = giveBack
    }

    /// Looks for as long as the loop turns.
    func start(on loop: EventLoop, logger: Logger) {
        self.schedule(loop, logger, Self.intervalNanoseconds)
    }

    private func schedule(_ loop: EventLoop, _ logger: Logger, _ delay: UInt64) {
        loop.schedule(afterNanoseconds: delay) {
            let began = Clock.monotonic()
            let returned = self.look()
            let cost = Clock.monotonic() &- began
            if let returned {
                logger.debug(
                    "freed memory given back",
                    metadata: ["bytes": "\(returned)", "microseconds": "\(cost / 1000)"]
                )
            }
            self.schedule(loop, logger, max(Self.intervalNanoseconds, cost * Self.shareOfTime))
        }
    }

    /// Gives memory back when much of it is free, and was so at the look before.
    /// - Returns: how many bytes; nil: it was not tried.
    @discardableResult
    func look() -> UInt64? {
        let heap = self.usage()
        self.unreturnable = min(self.unreturnable, heap.freeBytes)
        let isMuch = heap.freeBytes - self.unreturnable > max(Self.freeBytesMin, heap.usedBytes / 2)
        defer { self.wasMuch = isMuch }
        guard isMuch, self.wasMuch else { return nil }
        self.giveBack()
        self.trims += 1
        self.unreturnable = min(self.usage().freeBytes, heap.freeBytes)
        return heap.freeBytes - self.unreturnable
    }
}
