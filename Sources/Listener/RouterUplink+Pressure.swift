import Common
import Logging

// Clients that do not read: see `DeliveryPressure`.
extension RouterUplink {
    /// How often clients that do not read are looked for while there is reason to.
    private static let sweepNanoseconds = Nanoseconds.perSecond

    func tendPressure() {
        if self.pressure.hasRisen() {
            for connection in self.service.connections { connection.reportDelivered() }
        }
        if self.pressure.isHigh, self.slowClientsTimer == nil { self.watchSlowClients() }
    }

    private func watchSlowClients() {
        self.slowClientsTimer = self.service.loop.schedule(afterNanoseconds: Self.sweepNanoseconds) { [weak self] in
            guard let self else { return }
            self.slowClientsTimer = nil
            guard self.pressure.isHigh else { return }
            let waiting = self.service.connections.filter { $0.delivery.outstanding > 0 }
            for connection in waiting { connection.noteProgress() }
            if self.pressure.endsClients() { self.endSlowClients(waiting) }
            self.watchSlowClients()
        }
    }

    /// Those first that have taken nothing for the longest time.
    private func endSlowClients(_ waiting: [ClientConnection]) {
        let since = self.service.loop.now &- min(self.service.loop.now, DeliveryPressure.patienceNanoseconds)
        let slow = waiting.filter { $0.lastTaken <= since }.sorted { $0.lastTaken < $1.lastTaken }
        var ended = 0
        for connection in slow where self.pressure.waiting > self.pressure.aim {
            connection.endsForOthers()
            ended += 1
        }
        guard ended > 0 else { return }
        self.service.logger.warning(
            "clients ended that do not read: what waited for them was in the way of all others' messages",
            metadata: ["clients": "\(ended)", "link_credit": "\(self.pressure.credit)"]
        )
    }

    func addPressureStatus(to report: inout StatusReport) {
        report.add("undelivered_bytes", self.pressure.waiting)
        guard self.pressure.isCritical else { return }
        report.add(
            "alarm",
            "clients that do not read hold \(self.pressure.waiting) bytes of flow_control.link_credit (\(self.pressure.credit)): "
                + "deliveries to others wait, and those that have taken nothing for the longest time are ended"
        )
    }
}
