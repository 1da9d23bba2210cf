/// The connections of a listener by handle: slot in the lower 32 bits, the slot's generation in the upper, so that a frame for a
/// connection that is gone cannot reach the one that took its slot.
struct ConnectionTable {
    private var connections: [ClientConnection?] = []
    private var generations: [UInt32] = []
    private var free: [UInt32] = []
    private(set) var count = 0

    /// Reserves a handle; `insert` fills it.
    mutating func makeHandle() -> UInt64 {
        let slot: UInt32
        if let reused = self.free.popLast() {
            slot = reused
        } else {
            slot = UInt32(truncatingIfNeeded: self.connections.count)
            self.connections.append(nil)
            // Generation 0 is never used: handle 0 means none.
            self.generations.append(1)
        }
        return UInt64(self.generations[Int(slot)]) << 32 | UInt64(slot)
    }

    mutating func insert(_ connection: ClientConnection, handle: UInt64) {
        self.connections[Int(truncatingIfNeeded: handle & 0xFFFF_FFFF)] = connection
        self.count += 1
    }

    subscript(handle: UInt64) -> ClientConnection? {
        let slot = Int(truncatingIfNeeded: handle & 0xFFFF_FFFF)
        guard slot < self.connections.count, self.generations[slot] == UInt32(truncatingIfNeeded: handle >> 32) else {
            return nil
        }
        return self.connections[slot]
    }

    mutating func remove(_ handle: UInt64) {
        guard self[handle] != nil else { return }
        let slot = Int(truncatingIfNeeded: handle & 0xFFFF_FFFF)
        self.connections[slot] = nil
        self.generations[slot] &+= 1
        if self.generations[slot] == 0 { self.generations[slot] = 1 }
        self.free.append(UInt32(truncatingIfNeeded: slot))
        self.count -= 1
    }

    /// A copy: connections may be removed while it is gone through.
    var all: [ClientConnection] { self.connections.compactMap { $0 } }
}
