import Common

/// Deadlines of many connections, at a coarse grain: scheduling and moving one costs nothing but an array append.
///
/// Each slot holds the keys whose deadline falls into its tick. A key that is moved to a later deadline stays where it is; when
/// its slot comes up the owner looks at the real deadline and schedules it again. So a busy connection, whose keep alive moves
/// with every packet, is touched once per wheel position and not once per packet.
struct TimerWheel {
    static let tickNanoseconds: UInt64 = 250 * Nanoseconds.perMillisecond
    private static let slotCount: UInt64 = 1024

    private var slots: [[UInt64]]
    /// The next tick to look at.
    private var tick: UInt64
    private(set) var count = 0

    init(now: Instant) {
        self.slots = Array(repeating: [], count: Int(Self.slotCount))
        self.tick = now / Self.tickNanoseconds
    }

    /// - Returns: when the key will come up: its deadline rounded up to a tick, or the wheel's horizon if that is earlier.
    mutating func schedule(_ key: UInt64, deadline: Instant) -> Instant {
        let wanted = deadline / Self.tickNanoseconds + 1
        let tick = min(max(wanted, self.tick), self.tick + Self.slotCount - 1)
        self.slots[Int(tick % Self.slotCount)].append(key)
        self.count += 1
        return tick * Self.tickNanoseconds
    }

    /// Takes out the keys whose slots have come up. Some may be stale: the owner decides.
    mutating func due(now: Instant) -> [UInt64] {
        let current = now / Self.tickNanoseconds
        guard current >= self.tick else { return [] }
        var keys: [UInt64] = []
        let last = min(current, self.tick + Self.slotCount - 1)
        for tick in self.tick...last {
            let index = Int(tick % Self.slotCount)
            keys += self.slots[index]
            self.slots[index].removeAll(keepingCapacity: false)
        }
        self.tick = current + 1
        self.count -= keys.count
        return keys
    }
}
