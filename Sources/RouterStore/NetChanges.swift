/// The net effect of groups of changes, kept as places in the groups themselves.
struct NetChanges: ~Copyable {
    /// Where a value is, or that there is none any more.
    private struct Place: BitwiseCopyable {
        private static var deletedGroup: UInt32 { .max >> 1 }

        /// Twice the group's number, and one more if the entry has no row yet.
        private var groupAndNew: UInt32
        let start: UInt32
        let count: UInt32

        init(group: Int, start: Int, count: Int, isNew: Bool) {
            self.groupAndNew = UInt32(truncatingIfNeeded: group) << 1 | (isNew ? 1 : 0)
            self.start = UInt32(truncatingIfNeeded: start)
            self.count = UInt32(truncatingIfNeeded: count)
        }

        static var deleted: Place { Place(group: Int(Self.deletedGroup), start: 0, count: 0, isNew: false) }

        var group: Int { Int(self.groupAndNew >> 1) }
        var isDeleted: Bool { self.groupAndNew >> 1 == Self.deletedGroup }
        var isNew: Bool {
            get { self.groupAndNew & 1 == 1 }
            set { self.groupAndNew = self.groupAndNew & ~1 | (newValue ? 1 : 0) }
        }
    }

    private var groups: [[UInt8]] = []
    private var short = RecentKeyTable<Place>(unused: .deleted)
    private var long: [[UInt8]: Place] = [:]
    /// Keys.
    var count: Int { self.short.count + self.long.count }
    /// Of all groups in here.
    private(set) var bytes = 0

    /// Adds a group.
    /// - Returns: false when its records are broken.
    mutating func note(_ records: [UInt8]) -> Bool {
        self.groups.append(records)
        self.bytes += records.count
        let group = self.groups.count - 1
        return records.withUnsafeBytes { all in
            var reader = ChangeReader(all)
            while let record = reader.next() {
                let start = all.baseAddress.flatMap { base in record.value.baseAddress.map { $0 - base } } ?? 0
                let place =
                    record.operation == .delete
                    ? Place.deleted
                    : Place(
                        group: group,
                        start: start,
                        count: record.value.count,
                        isNew: record.operation == .insert
                    )
                if let key = ShortKey(record.key) {
                    self.noteShort(place, key)
                } else {
                    self.noteLong(place, [UInt8](record.key))
                }
            }
            return !reader.isBroken
        }
    }

    @inline(__always)
    private mutating func noteShort(_ place: Place, _ key: ShortKey) {
        if place.isDeleted {
            // What was made after the last fold leaves nothing behind.
            if let former = self.short.remove(key), former.isNew { return }
            self.short.set(place, for: key)
            return
        }
        guard let former = self.short.set(place, for: key), former.isNew != place.isNew else { return }
        // A row that is to be deleted, or to be replaced, stays one of which that is known.
        var place = place
        place.isNew = former.isNew
        self.short.set(place, for: key)
    }

    private mutating func noteLong(_ place: Place, _ key: [UInt8]) {
        if place.isDeleted {
            if let former = self.long.removeValue(forKey: key), former.isNew { return }
            self.long[key] = place
            return
        }
        guard let former = self.long.updateValue(place, forKey: key) else { return }
        if former.isNew != place.isNew { self.long[key]?.isNew = former.isNew }
    }

    /// Calls `body` with each key that changed and its value; nil: the entry is deleted.
    borrowing func forEach<Failure: Error>(
        _ body: ([UInt8], UnsafeRawBufferPointer?) throws(Failure) -> Void
    ) throws(Failure) {
        try self.short.forEach { key, place throws(Failure) in try self.call(key.bytes, place, body) }
        for (key, place) in self.long { try self.call(key, place, body) }
    }

    private borrowing func call<Failure: Error>(
        _ key: [UInt8],
        _ place: Place,
        _ body: ([UInt8], UnsafeRawBufferPointer?) throws(Failure) -> Void
    ) throws(Failure) {
        guard !place.isDeleted else { return try body(key, nil) }
        let range = Int(place.start)..<Int(place.start) + Int(place.count)
        let result = self.groups[place.group].withUnsafeBytes { bytes -> Result<Void, Failure> in
            do throws(Failure) {
                return .success(try body(key, UnsafeRawBufferPointer(rebasing: bytes[range])))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    mutating func removeAll() {
        self.groups.removeAll(keepingCapacity: true)
        self.short.removeAll()
        self.long = [:]
        self.bytes = 0
    }
}
