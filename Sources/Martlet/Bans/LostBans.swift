import Common

/// Bans that listeners keep in force although `bans_file` is not there: whoever takes it for a file that has never been lifts them all.
struct LostBans {
    let configuration: Configuration
    /// What to do, behind what was found.
    var advice: String

    /// - Throws: when a listener has bans in force, or one that may have some does not say.
    func check() throws {
        let file = "there is no \(self.configuration.bansFile) (bans_file)"
        let listeners = try StatusClient.askListeners(self.configuration)
        var most: (name: String, bans: Int)?
        for listener in listeners {
            guard let bans = Self.bansInForce(listener), bans > most?.bans ?? 0 else { continue }
            most = (listener.name, bans)
        }
        if let most {
            let bans = most.bans == 1 ? "1 ban" : "\(most.bans) bans"
            throw CommandFailure(
                "\(file), but \(most.name) has \(bans) in force: the file is lost, or was another one when the listener started. "
                    + self.advice
            )
        }
        for listener in listeners where !listener.isAbsent {
            guard case .silent(let reason) = listener.answer else { continue }
            throw CommandFailure(
                "\(file), and whether bans are in force without it cannot be told: \(listener.name): \(reason). \(self.advice)"
            )
        }
    }

    private static func bansInForce(_ listener: StatusClient.Process) -> Int? {
        guard case .report(let lines) = listener.answer else { return nil }
        return lines.first { $0.name == "bans" }.flatMap { Int($0.value) }
    }
}
