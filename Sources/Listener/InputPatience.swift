/// Tells clients that send nothing but acknowledgements which the router can wait for.
///
/// To be woken by each of those costs more than the message that it acknowledges: such a client is read when there is something else to
/// do. One that sends anything else is read at once again.
struct InputPatience {
    /// So many times in a row a client has to have sent nothing else.
    static let readsBefore = 8

    private var reads = 0

    var isPatient: Bool { self.reads >= Self.readsBefore }

    /// - Parameters:
    ///   - canWait: there were acknowledgements, and nobody needs them now.
    ///   - isOther: there was something else, or the acknowledgements are needed.
    mutating func received(canWait: Bool, isOther: Bool) {
        if canWait {
            self.reads = min(self.reads + 1, Self.readsBefore)
        } else if isOther {
            self.reads = 0
        }
    }

    /// The client's acknowledgements are needed.
    mutating func end() { self.reads = 0 }
}
