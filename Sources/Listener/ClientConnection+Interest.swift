import Common

// What a connection waits for.
extension ClientConnection {
    func updateInterest() {
        var interest: IOEvents = self.wantsInput && !self.readWantsWrite || self.writeWantsRead ? .readable : []
        if self.writeWantsWrite || self.readWantsWrite { interest.insert(.writable) }
        self.setInterest(interest)
    }

    /// There is something to write that found no room.
    var needsRoom: Bool { self.writeWantsWrite || self.readWantsWrite }

    /// What can be read is reported as before: whoever must not read is told so by that, and then waits for his turn.
    func hasWritten() {
        self.setInterest(self.needsRoom ? [self.interest, .writable] : self.interest.subtracting(.writable))
    }

    func grantCredit(_ bytes: UInt32) {
        self.uplink?.grant(bytes)
        self.resumeAfterCredit()
    }

    /// There was no room for what reading has to write.
    func receiveAgain() {
        self.receive()
        if !self.readWantsWrite { self.updateInterest() }
    }
}
