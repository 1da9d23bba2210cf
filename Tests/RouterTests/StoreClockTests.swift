import Common
import RouterStore
import TestSupport
import Testing

/// The store's time, which nobody sets.
@Suite struct StoreClockTests {
    private let directory: TemporaryDirectory
    private var path: String { self.directory.file("clock") }

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    /// Within a second: the clocks are read one after the other.
    private func isWallClock(_ clock: StoreClock) -> Bool {
        let difference = Int64(bitPattern: clock.offset &- (Clock.wall() &- Clock.bootTime()))
        return abs(difference) < Int64(Nanoseconds.perSecond)
    }

    @Test func theFirstRouterSinceTheHostsStartTakesTheWallClock() {
        let clock = StoreClock(path: self.path, bootID: "a")
        #expect(clock.problem == nil && self.isWallClock(clock))
        let now = Clock.monotonic() &+ clock.monotonicOffset
        #expect(abs(Int64(bitPattern: now &- Clock.wall())) < Int64(Nanoseconds.perSecond))
    }

    @Test func thoseAfterItGoOnWithItsTimeWhateverTheWallClockShows() throws {
        try writeFile(self.path, Array("a 5000\n".utf8))
        let clock = StoreClock(path: self.path, bootID: "a")
        #expect(clock.offset == 5000 && clock.problem == nil)
        #expect(StoreClock(path: self.path, bootID: "a").offset == 5000)
    }

    @Test func afterAnotherStartOfTheHostItIsTheWallClockAgain() throws {
        try writeFile(self.path, Array("a 5000\n".utf8))
        let clock = StoreClock(path: self.path, bootID: "b")
        #expect(self.isWallClock(clock) && clock.problem == nil)
        #expect(StoreClock(path: self.path, bootID: "b").offset == clock.offset)
    }

    @Test(arguments: ["", "a", "a x\n", "a 5000 7\n", "a -5\n", String(repeating: "9", count: 200)])
    func aBrokenFileIsReplaced(_ text: String) throws {
        try writeFile(self.path, Array(text.utf8))
        let clock = StoreClock(path: self.path, bootID: "a")
        #expect(self.isWallClock(clock) && clock.problem == nil)
        #expect(StoreClock(path: self.path, bootID: "a").offset == clock.offset)
    }

    @Test func whereItCannotBeKeptTheWallClockCountsAndItIsSaid() throws {
        let clock = StoreClock(path: self.directory.file("absent") + "/clock", bootID: "a")
        #expect(self.isWallClock(clock))
        #expect(try #require(clock.problem).contains("absent/clock"))
    }

    @Test func theKernelSaysWhichStartItIs() {
        #expect(StoreClock.kernelBootID.utf8.count == 36)
        #expect(StoreClock.kernelBootID == StoreClock.kernelBootID)
    }
}
