import Common

/// When a client got how far on its way in, on the monotonic clock; 0: it did not get there.
struct ConnectTimes {
    var accepted: Instant
    var handshake: Instant = 0
    var connect: Instant = 0
    var verdict: Instant = 0
    var end: Instant = 0

    init(accepted: Instant) {
        self.accepted = accepted
    }

    /// Milliseconds of each stage that was reached, as people read it.
    var description: String {
        var parts: [String] = []
        var before = self.accepted
        let stages = [
            ("TLS handshake", self.handshake), ("CONNECT", self.connect), ("auth worker", self.verdict),
            ("then", self.end),
        ]
        for (name, instant) in stages where instant != 0 {
            let microseconds = (instant &- before) / 1000
            parts.append("\(name) \(microseconds / 1000).\(String(microseconds % 1000 + 1000).dropFirst()) ms")
            before = instant
        }
        return parts.joined(separator: ", ")
    }
}
