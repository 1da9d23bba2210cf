import Common

// Who is banned, as far as the connection knows its client.
extension ClientConnection {
    /// The ban that the client falls under; nil: none.
    func ban(in bans: BanWatch) -> Ban? {
        guard !bans.list.isEmpty else { return nil }
        return bans.list.ban(
            ofAddress: self.address.listenAddress,
            identity: self.identity,
            clientIdentifier: self.credentials.clientIdentifier,
            now: bans.now
        )
    }

    /// - Returns: whether the client that sent CONNECT was refused.
    func refusesBanned() -> Bool {
        guard let ban = self.ban(in: self.service.bans) else { return false }
        self.refuse(.banned, code: .banned, detail: ban.detail)
        return true
    }

    /// The bans have changed.
    func checkBan() {
        switch self.phase {
        case .open, .authenticating, .opening, .awaitingConnect: break
        case .handshaking, .closing, .lingering, .closed: return
        }
        guard let ban = self.ban(in: self.service.bans) else { return }
        guard self.phase == .open else {
            // CONNACK answers CONNECT, and nothing comes before it ([MQTT-3.1.0-1], [MQTT-3.2.0-1]).
            let version = self.phase == .awaitingConnect ? nil : self.version
            return self.refuse(.banned, code: .banned, version: version, detail: ban.detail)
        }
        self.service.counters.sessionsBanned += 1
        self.endAdministratively(.administrativeAction, ban.detail, endsSession: true)
    }
}

extension Ban {
    /// For the log and for `martlet why`.
    var detail: String { "banned: \(self.title)\(self.reason.isEmpty ? "" : " (\(self.reason))")" }
}
