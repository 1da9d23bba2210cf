/// What one subscriber has got of one publisher's messages, which are numbered from 0: what is missing, came twice, or came after a later
/// one.
package struct DeliveryLedger: Sendable {
    package private(set) var received = 0
    package private(set) var duplicates = 0
    package private(set) var outOfOrder = 0
    private var next = 0
    /// Passed over so far.
    private var missing: Set<Int> = []
    /// Passed over in gaps too large to be remembered one by one.
    private var missingBeyond = 0

    private static let missingMax = 100_000

    package init() {}

    /// - Parameter sequence: any number: it may have been damaged on the way.
    /// - Returns: whether it is the first time.
    @discardableResult
    package mutating func receive(_ sequence: some BinaryInteger) -> Bool {
        let number = min(Int(clamping: sequence), Int.max - 1)
        if number == self.next {
            self.next = number + 1
        } else if number > self.next {
            let gap = number - self.next
            if gap <= Self.missingMax - self.missing.count {
                self.missing.formUnion(self.next..<number)
            } else {
                self.missingBeyond += gap
            }
            self.next = number + 1
        } else if self.missing.remove(number) != nil {
            self.outOfOrder += 1
        } else {
            self.duplicates += 1
            return false
        }
        self.received += 1
        return true
    }

    /// - Parameter sent: how many messages there were.
    package func lost(ofSent sent: some BinaryInteger) -> Int {
        self.missing.count + self.missingBeyond + max(0, Int(clamping: sent) - self.next)
    }
}
