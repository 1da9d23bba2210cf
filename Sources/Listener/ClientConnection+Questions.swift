import Common

// What a connection asks auth workers and the router.
extension ClientConnection {
    /// Nil unless an auth worker is being asked.
    func authQuery() -> AuthQuery? {
        guard self.phase == .authenticating, let connect = self.connect else { return nil }
        return AuthQuery(
            listenerName: self.policy.name,
            rulesName: self.policy.rulesName,
            peerAddress: Array(self.peerAddress.utf8),
            version: connect.version,
            identity: self.identity,
            clientIdentifier: self.credentials.clientIdentifier,
            userName: self.userName,
            password: connect.password
        )
    }

    /// Nil unless the session waits for the router.
    func sessionOpen() -> SessionOpen? {
        guard self.phase == .opening, let connect = self.connect, let access = self.access else { return nil }
        return self.sessionOpen(connect, access)
    }

    func sessionOpen(_ connect: ConnectPacket, _ access: AccessRules) -> SessionOpen {
        var packet = ByteBuffer()
        connect.encode(into: &packet)
        return SessionOpen(
            connectStamp: self.connectStamp,
            listenerName: self.policy.name,
            peerAddress: Array(self.peerAddress.utf8),
            identity: self.identity,
            userName: self.userName,
            access: access,
            connect: packet.array
        )
    }
}
