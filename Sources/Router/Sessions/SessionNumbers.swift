/// Numbers of sessions that are not in the store when they get them: no router that is started later may give them to another session
/// while the one that has it lives on in its listener. So they are random, where the store counts its own up from 1.
struct SessionNumbers {
    /// Above all numbers that are counted.
    private static let first: UInt64 = 1 << 63

    private var generator: SplitMix64
    private var taken: Set<UInt64> = []

    init(seed: UInt64) {
        // Not what client identifiers show.
        self.generator = SplitMix64(state: ~seed)
    }

    static func isCounted(_ number: UInt64) -> Bool { number < Self.first }

    mutating func take() -> UInt64 {
        while true {
            // Far from the end: a release that knows no such numbers counts on from them.
            let number = Self.first | self.generator.next() >> 2
            if self.taken.insert(number).inserted { return number }
        }
    }

    /// - Returns: false when another session has it.
    mutating func take(_ number: UInt64) -> Bool {
        !Self.isCounted(number) && self.taken.insert(number).inserted
    }

    mutating func giveBack(_ number: UInt64) {
        if !Self.isCounted(number) { self.taken.remove(number) }
    }
}
