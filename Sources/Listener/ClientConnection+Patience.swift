import Common

// When the client is read (ADR 0021).
extension ClientConnection {
    /// Something was taken from what the client sent.
    /// - Parameter canWait: it is nothing but acknowledgements that the router is in no need of.
    func received(_ progress: SessionUplink.Progress, canWait: Bool) {
        let isOther = progress.isUrgent || progress.acknowledgements > 0 || progress.isBlocked || progress.end != nil
        self.changePatience { $0.received(canWait: canWait, isOther: isOther) }
    }

    /// The client was sent something, or it would have been if there had been room.
    func expectsAcknowledgements() {
        guard self.inputPatience.isPatient else { return }
        if let uplink = self.uplink, !self.needsRoom, self.service.router.canWaitForAcknowledgements(of: uplink) {
            if uplink.hasInFlight { self.service.loop.waitPatiently() }
        } else {
            self.changePatience { $0.end() }
        }
    }

    private func changePatience(_ change: (inout InputPatience) -> Void) {
        let wasPatient = self.inputPatience.isPatient
        change(&self.inputPatience)
        guard self.inputPatience.isPatient != wasPatient, let registration = self.registration else { return }
        self.service.loop.setPatient(registration, !wasPatient, for: self.interest)
    }
}
