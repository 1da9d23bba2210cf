/// The net effect of groups of changes, kept as places in the groups themselves.
struct NetChanges: ~Copyable {
    /// A key of at most 17 bytes, as all but those of retained messages are, without an array of its own.
    struct ShortKey: Equatable, BitwiseCopyable {
        static var bytesMax: Int { 17 }

        var kind: UInt8
        var count: UInt8
        var first: UInt64 = 0
        var second: UInt64 = 0

        init?(_ bytes: UnsafeRawBufferPointer) {
            guard bytes.count > 0, bytes.count <= Self.bytesMax else { return nil }
            self.kind = bytes[0]
            self.count = UInt8(truncatingIfNeeded: bytes.count)
            for position in 1..<bytes.count {
                let byte = UInt64(bytes[position])
                if position < 9 {
                    self.first |= byte << UInt64(64 - 8 * position)
                } else {
                    self.second |= byte << UInt64(64 - 8 * (position - 8))
                }
            }
        }

        var bytes: [UInt8] {
            (0..<Int(self.count)).map { position in
                if position == 0 { return self.kind }
                if position < 9 { return UInt8(truncatingIfNeeded: self.first >> UInt64(64 - 8 * position)) }
                return UInt8(truncatingIfNeeded: self.second >> UInt64(64 - 8 * (position - 8)))
            }
        }
    }

    /// Where a value is, or that there is none any more.
    private struct Place: BitwiseCopyable {
        static var deleted: Int32 { -1 }

        var group: Int32
        var start: UInt32
        var count: UInt32
        /// The entry has no row yet.
        var isNew: Bool
    }

    private var groups: [[UInt8]] = []
    private var short = ShortKeyTable<Place>()
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
        let group = Int32(truncatingIfNeeded: self.groups.count - 1)
        return records.withUnsafeBytes { all in
            var reader = ChangeReader(all)
            while let record = reader.next() {
                let start = all.baseAddress.flatMap { base in record.value.baseAddress.map { $0 - base } } ?? 0
                let isDeleted = record.operation == .delete
                let place = Place(
                    group: isDeleted ? Place.deleted : group,
                    start: UInt32(truncatingIfNeeded: start),
                    count: UInt32(truncatingIfNeeded: record.value.count),
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

    private mutating func noteShort(_ place: Place, _ key: ShortKey) {
        if place.group == Place.deleted {
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
        if place.group == Place.deleted {
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
        guard place.group != Place.deleted else { return try body(key, nil) }
        let range = Int(place.start)..<Int(place.start) + Int(place.count)
        let result = self.groups[Int(place.group)].withUnsafeBytes { bytes -> Result<Void, Failure> in
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
