/// Up to which turn what was written for a listener has left this process: from then on it survives it, in the socket's buffer.
struct HandOver {
    private var writtenBytes: UInt64 = 0
    /// Ends of turns that had not left when the next one was written.
    private var marks: [(turn: UInt64, position: UInt64)] = []

    /// Bytes were appended to the link's output.
    mutating func wrote(_ bytes: Int) {
        self.writtenBytes += UInt64(bytes)
    }

    /// - Parameters:
    ///   - core: the turn to whose end everything has been appended.
    ///   - waitingBytes: of the output that the socket has not taken.
    /// - Returns: the last turn of which nothing waits; nil: none more than before.
    mutating func turnHandedOver(core turn: UInt64, waitingBytes: Int) -> UInt64? {
        guard waitingBytes > 0 else {
            self.marks.removeAll(keepingCapacity: true)
            return turn
        }
        let left = self.writtenBytes - min(self.writtenBytes, UInt64(waitingBytes))
        if self.marks.last?.turn != turn {
            self.marks.append((turn, self.writtenBytes))
        } else {
            self.marks[self.marks.count - 1].position = self.writtenBytes
        }
        var reached: UInt64?
        while let first = self.marks.first, first.position <= left {
            reached = first.turn
            self.marks.removeFirst()
        }
        return reached
    }
}
