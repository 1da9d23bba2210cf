/// How many of some rows that were known Redis has not.
package struct RowSample: Equatable, Sendable {
    package var count: Int
    package var absent: Int

    package init(count: Int = 0, absent: Int = 0) {
        self.count = count
        self.absent = absent
    }

    mutating func add(_ other: RowSample) {
        self.count += other.count
        self.absent += other.absent
    }

    var isMostlyAbsent: Bool { self.absent * 2 > self.count }
}
