import Common

// What a connection waits for.
extension ClientConnection {
    func updateInterest() {
        var interest: IOEvents = self.wantsInput && !self.readWantsWrite || self.writeWantsRead ? .readable : []
        if self.writeWantsWrite || self.readWantsWrite { interest.insert(.writable) }
        self.setInterest(interest)
    }

    /// What can be read is reported as before: whoever must not read is told so by that, and then waits for his turn.
    func hasWritten() {
        let needsRoom = self.writeWantsWrite || self.readWantsWrite
        self.setInterest(needsRoom ? [self.interest, .writable] : self.interest.subtracting(.writable))
    }

    /// There was no room for what reading has to write.
    func receiveAgain() {
        self.receive()
        if !self.readWantsWrite { self.updateInterest() }
    }
}
