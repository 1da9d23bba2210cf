import Common

/// The packet identifiers of QoS 1 and 2 messages on their way to a client, and how far each is. The router takes low ones
/// first, so that a byte for each up to the highest is little.
struct OutboundIdentifiers {
    private var stages: [UInt8] = []
    private(set) var count = 0

    subscript(_ identifier: UInt16) -> OutboundStage {
        get {
            let place = Int(identifier) - 1
            guard place >= 0, place < self.stages.count else { return .free }
            return OutboundStage(rawValue: self.stages[place]) ?? .free
        }
        set {
            let place = Int(identifier) - 1
            guard place >= 0 else { return }
            if place >= self.stages.count {
                guard newValue != .free else { return }
                self.stages.append(contentsOf: repeatElement(0, count: max(place + 1 - self.stages.count, 8)))
            }
            let before = self.stages[place]
            self.stages[place] = newValue.rawValue
            if before == 0 { self.count += newValue == .free ? 0 : 1 } else if newValue == .free { self.count -= 1 }
        }
    }

    /// Those in use, by number.
    var all: [SessionAttach.Outbound] {
        var found: [SessionAttach.Outbound] = []
        found.reserveCapacity(self.count)
        for (place, raw) in self.stages.enumerated() where raw != 0 {
            guard let stage = OutboundStage(rawValue: raw) else { continue }
            found.append(
                SessionAttach.Outbound(packetIdentifier: UInt16(truncatingIfNeeded: place + 1), stage: stage)
            )
        }
        return found
    }
}
