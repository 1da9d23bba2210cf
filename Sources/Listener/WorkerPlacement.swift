import Common

/// Which auth worker a client belongs to: the same one in all listeners, as long as it comes with the same names.
enum WorkerPlacement {
    /// By all that a client says of itself together. One part alone may be what a whole fleet has in common, as a user name or a
    /// certificate, and one worker would have all of it. Look-ups of one key that clients with different names share are one in each worker.
    ///
    /// - Parameter workers: at least one.
    static func worker(for query: AuthQuery, of workers: Int) -> Int {
        // FNV-1a. Each part ends with a byte that no UTF-8 has, so that it matters where they are cut.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for part in [query.identity?.fingerprint ?? [], query.userName ?? [], query.clientIdentifier] {
            for byte in part { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0xFF) &* 0x100_0000_01B3
        }
        // The last bit of that is no more than the sum of all bytes' last bits, which is the same for all whose user name is their client
        // identifier: mixed as MurmurHash3 does.
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        hash ^= hash >> 33
        return Int(truncatingIfNeeded: hash % UInt64(workers))
    }
}
