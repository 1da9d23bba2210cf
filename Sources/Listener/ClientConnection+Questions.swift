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

    /// A CONNECT as routers get it, without what only auth workers have to know. Packed, for it stays with the connection: properties of a
    /// will take many times their length when they are not.
    struct PassedConnect {
        let packet: [UInt8]
        let receiveMaximum: UInt16

        init(_ connect: ConnectPacket) {
            var connect = connect
            connect.password = nil
            connect.userName = nil
            var buffer = ByteBuffer()
            connect.encode(into: &buffer)
            self.packet = buffer.array
            self.receiveMaximum = connect.properties.receiveMaximum ?? UInt16.max
        }
    }

    /// Nil unless the session waits for the router.
    func sessionOpen() -> SessionOpen? {
        guard self.phase == .opening, let connect = self.passedConnect, let access = self.access else { return nil }
        return self.sessionOpen(connect, access)
    }

    func sessionOpen(_ connect: PassedConnect, _ access: AccessRules) -> SessionOpen {
        SessionOpen(
            connectStamp: self.connectStamp,
            listenerName: self.policy.name,
            peerAddress: Array(self.peerAddress.utf8),
            identity: self.identity,
            userName: self.userName,
            access: access,
            connect: connect.packet
        )
    }
}
