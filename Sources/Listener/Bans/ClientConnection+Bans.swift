import Common

// Who is banned, as far as the connection knows its client.
extension ClientConnection {
    /// The ban that the client falls under; nil: none.
    func ban(in bans: BanWatch) -> Ban? {
        guard !bans.list.isEmpty else { return nil }
        let now = bans.now
        if let address = self.address.listenAddress, let ban = bans.list.ban(of: address, now: now) { return ban }
        if let identity = self.identity, let ban = bans.list.ban(of: identity, now: now) { return ban }
        return bans.list.ban(ofClientIdentifier: self.credentials.clientIdentifier, now: now)
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
        guard self.phase == .open, let ban = self.ban(in: self.service.bans) else {
            _ = self.refusesBanned()
            return
        }
        self.service.counters.sessionsBanned += 1
        self.service.logRevocation(self, ban.detail)
        let suppressesWill = self.service.configuration.authentication.revokedWill == .suppress
        self.close(suppressesWill ? .revoked : .administrative, code: .administrativeAction, ban.detail)
    }
}

extension Ban {
    /// For the log and for `martlet why`.
    var detail: String { "banned: \(self.title)\(self.reason.isEmpty ? "" : " (\(self.reason))")" }
}
