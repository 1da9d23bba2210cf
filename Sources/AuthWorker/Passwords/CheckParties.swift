/// Whose password waits for being compared: rows take turns, and so do addresses.
package struct CheckParties: Equatable, Sendable {
    /// A hash of the row's key.
    package var row: UInt64
    /// A hash of the client's address.
    package var address: UInt64

    package init(row: UInt64, address: UInt64) {
        self.row = row
        self.address = address
    }
}
