import Common

/// Which auth worker a client belongs to: the same one in all listeners, as long as it comes with the same names.
struct WorkerPlacement {
    /// What the keys of look-ups are made of; empty: there are none.
    private let placeholders: [Placeholder]

    /// - Parameter sources: the look-ups are those of the first one that has any.
    init(_ sources: [Configuration.Authentication.Source]) {
        self.placeholders = sources.lazy.map(\.lookupPlaceholders).first { !$0.isEmpty } ?? []
    }

    /// By what its look-up's key is made of, so that all who share the key meet, and are one command. A client that has nothing of it goes
    /// by all that it says of itself: one part alone, a user name or a certificate, may be what a whole fleet has in common.
    ///
    /// - Parameter workers: at least one.
    func worker(for query: AuthQuery, of workers: Int) -> Int {
        let client = ClientAttributes(query)
        let values = self.placeholders.compactMap(client.value(of:))
        let names =
            values.isEmpty
            ? [query.identity?.fingerprint ?? [], query.userName ?? [], query.clientIdentifier] : values
        var sum = FNV1a()
        for part in names {
            sum.add(part)
            // No UTF-8 has it: it matters where the parts are cut.
            sum.add(0xFF)
        }
        var hash = sum.value
        // The last bit of that is no more than the sum of all bytes' last bits, which is the same for all whose user name is their client
        // identifier: mixed as MurmurHash3 does.
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        hash ^= hash >> 33
        return Int(truncatingIfNeeded: hash % UInt64(workers))
    }
}
