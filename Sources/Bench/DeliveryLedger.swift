/// What one subscriber has got of one publisher's messages, which are numbered from 0: what is missing, came twice, or came after a later
/// one.
package struct DeliveryLedger: Sendable {
    package private(set) var received = 0
    package private(set) var duplicates = 0
    package private(set) var outOfOrder = 0
    private var next: UInt32 = 0
    /// Passed over so far.
    private var missing: Set<UInt32> = []
    /// Passed over in gaps too large to be remembered one by one.
    private var missingBeyond = 0

    private static let missingMax = 100_000

    package init() {}

    /// - Returns: whether it is the first time.
    @discardableResult
    package mutating func receive(_ sequence: UInt32) -> Bool {
        if sequence == self.next {
            self.next += 1
        } else if sequence > self.next {
            let gap = Int(sequence - self.next)
            if self.missing.count + gap <= Self.missingMax {
                self.missing.formUnion(self.next..<sequence)
            } else {
                self.missingBeyond += gap
            }
            self.next = sequence + 1
        } else if self.missing.remove(sequence) != nil {
            self.outOfOrder += 1
        } else {
            self.duplicates += 1
            return false
        }
        self.received += 1
        return true
    }

    /// - Parameter sent: how many messages there were.
    package func lost(ofSent sent: UInt32) -> Int {
        self.missing.count + self.missingBeyond + (sent > self.next ? Int(sent - self.next) : 0)
    }
}
