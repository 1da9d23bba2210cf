/// Listener to router: a client was authenticated and wants its session. Answered by `sessionAccepted` or `sessionRefused`.
public struct SessionOpen: Equatable, Sendable {
    /// Nanoseconds of CLOCK_BOOTTIME when the CONNECT was complete: among two connections of one client id the newer wins.
    public var connectStamp: UInt64
    /// The configured listener's name: the router applies its policy.
    public var listenerName: [UInt8]
    /// As in logs: `192.0.2.7:40112`, `[2001:db8::1]:40112`.
    public var peerAddress: [UInt8]
    public var identity: CertificateIdentity?
    /// The name in force: from CONNECT, or from the certificate where the listener says so.
    public var userName: [UInt8]?
    public var access: AccessRules
    /// The CONNECT packet without its password: the router has no use for it.
    public var connect: [UInt8]

    public init(
        connectStamp: UInt64,
        listenerName: [UInt8],
        peerAddress: [UInt8],
        identity: CertificateIdentity?,
        userName: [UInt8]?,
        access: AccessRules,
        connect: [UInt8]
    ) {
        self.connectStamp = connectStamp
        self.listenerName = listenerName
        self.peerAddress = peerAddress
        self.identity = identity
        self.userName = userName
        self.access = access
        self.connect = connect
    }

    /// - Parameter canBeMadeAnew: as `FrameFlags.canBeMadeAnew`.
    public func encode(into buffer: inout ByteBuffer, handle: UInt64, canBeMadeAnew: Bool = false) {
        let flags = canBeMadeAnew ? FrameFlags.canBeMadeAnew : 0
        let position = buffer.beginFrame(.sessionOpen, flags: flags, handle: handle)
        self.encodeBody(into: &buffer)
        buffer.endFrame(at: position)
    }

    func encodeBody(into buffer: inout ByteBuffer) {
        buffer.writeLittleEndian(self.connectStamp)
        buffer.writeField(self.listenerName)
        buffer.writeField(self.peerAddress)
        buffer.writeField(self.identity)
        buffer.writeOptionalField(self.userName)
        buffer.writeField(self.access)
        buffer.writeField(self.connect)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> SessionOpen? {
        var reader = ByteReader(body)
        guard let open = SessionOpen(&reader), reader.isAtEnd else { return nil }
        return open
    }

    /// Nil when it is broken.
    init?(_ reader: inout ByteReader) {
        guard let stamp = reader.readLittleEndian(UInt64.self),
            let listenerName = reader.readField(),
            let peerAddress = reader.readField(),
            let identity = reader.readIdentity(),
            let userName = reader.readOptionalField(),
            let access = reader.readAccessRules(),
            let connect = reader.readField()
        else { return nil }
        self.init(
            connectStamp: stamp,
            listenerName: listenerName,
            peerAddress: peerAddress,
            identity: identity,
            userName: userName,
            access: access,
            connect: connect
        )
    }
}

/// Listener to router: the connection is gone. The cause decides about the will. Body: the cause's byte.
public enum SessionCloseCause: UInt8, Sendable, CaseIterable {
    /// TCP or TLS ended without DISCONNECT, which publishes the will ([MQTT-3.1.2-8]).
    case connectionLost = 1
    case keepAliveTimeout = 2
    /// The listener found a malformed or oversized packet and has sent DISCONNECT itself.
    case protocolError = 3
    /// The listener is stopping; the device will connect to another one.
    case listenerShutdown = 4
    /// An administrator's wish, or a right that ended: the will is published.
    case administrative = 5
    /// The same, and the will must not be published.
    case revoked = 6

    /// - Parameters:
    ///   - endsSession: as `FrameFlags.endsSession`.
    ///   - age: nanoseconds since the connection ended, of which no router could be told. Routers that do not know the field take it to
    ///     have ended when they hear of it.
    public func encode(into buffer: inout ByteBuffer, handle: UInt64, endsSession: Bool = false, age: UInt64? = nil) {
        let flags = endsSession ? FrameFlags.endsSession : 0
        let bytes = 1 + (age == nil ? 0 : MemoryLayout<UInt64>.size)
        buffer.writeFrameHeader(.sessionClosed, flags: flags, handle: handle, bodyBytes: bytes)
        buffer.write(self.rawValue)
        if let age { buffer.writeLittleEndian(age) }
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> (cause: SessionCloseCause, age: UInt64)? {
        var reader = ByteReader(body)
        guard let cause = reader.readUInt8().flatMap(SessionCloseCause.init(rawValue:)) else { return nil }
        return (cause, reader.readLittleEndian(UInt64.self) ?? 0)
    }
}

/// Listener to router: other rules apply to the session from here on; subscriptions that they do not allow end.
public enum SessionRules {
    public static func encode(_ access: AccessRules, into buffer: inout ByteBuffer, handle: UInt64) {
        let position = buffer.beginFrame(.sessionRules, handle: handle)
        buffer.writeField(access)
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AccessRules? {
        var reader = ByteReader(body)
        guard let access = reader.readAccessRules(), reader.isAtEnd else { return nil }
        return access
    }
}

/// Router to listener: the session is open.
public struct SessionAccepted {
    /// The session's number in the router's store, by which the next router knows it (`SessionAttach`); 0: it is not stored, and
    /// ends with the router.
    public var sessionNumber: UInt64
    /// What the listener enforces 1.5 times of; 0: nothing.
    public var keepAliveSeconds: UInt16
    /// The client identifier in force.
    public var clientIdentifier: UnsafeRawBufferPointer
    public var connack: UnsafeRawBufferPointer
    /// As `FrameFlags.keepsExchanges`.
    public var keepsExchanges: Bool
    /// As `FrameFlags.canBeMadeAnew`.
    public var canBeMadeAnew: Bool

    public init(
        sessionNumber: UInt64,
        keepAliveSeconds: UInt16,
        clientIdentifier: UnsafeRawBufferPointer,
        connack: UnsafeRawBufferPointer,
        keepsExchanges: Bool = false,
        canBeMadeAnew: Bool = false
    ) {
        self.keepsExchanges = keepsExchanges
        self.canBeMadeAnew = canBeMadeAnew
        self.sessionNumber = sessionNumber
        self.keepAliveSeconds = keepAliveSeconds
        self.clientIdentifier = clientIdentifier
        self.connack = connack
    }

    public func encode(into buffer: inout ByteBuffer, handle: UInt64) {
        let flags =
            (self.keepsExchanges ? FrameFlags.keepsExchanges : 0)
            | (self.canBeMadeAnew ? FrameFlags.canBeMadeAnew : 0)
        let position = buffer.beginFrame(.sessionAccepted, flags: flags, handle: handle)
        buffer.writeLittleEndian(self.sessionNumber)
        buffer.writeLittleEndian(self.keepAliveSeconds)
        buffer.writeField(self.clientIdentifier)
        buffer.write(self.connack)
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken. The parts are where they lie in it.
    public static func decode(_ body: UnsafeRawBufferPointer, flags: UInt8 = 0) -> SessionAccepted? {
        var reader = ByteReader(body)
        guard let number = reader.readLittleEndian(UInt64.self),
            let keepAlive = reader.readLittleEndian(UInt16.self), let identifier = reader.readFieldView()
        else { return nil }
        return SessionAccepted(
            sessionNumber: number,
            keepAliveSeconds: keepAlive,
            clientIdentifier: identifier,
            connack: reader.readRest(),
            keepsExchanges: flags & FrameFlags.keepsExchanges != 0,
            canBeMadeAnew: flags & FrameFlags.canBeMadeAnew != 0
        )
    }
}

/// Router to listener: `sessionRefused` (body: the reason code, then CONNACK) and `sessionClose` (body: the reason code, then
/// DISCONNECT, or nothing where the version has none). The listener sends the packet, then closes the connection; frames of
/// that handle that are still on their way up are discarded by the router.
public enum SessionEnd {
    public static func encode(
        _ kind: FrameKind,
        into buffer: inout ByteBuffer,
        handle: UInt64,
        reason: ReasonCode,
        packet: UnsafeRawBufferPointer
    ) {
        precondition(kind == .sessionRefused || kind == .sessionClose)
        buffer.writeFrameHeader(kind, handle: handle, bodyBytes: 1 + packet.count)
        buffer.write(reason.rawValue)
        buffer.write(packet)
    }

    public static func decode(
        _ body: UnsafeRawBufferPointer
    ) -> (reason: ReasonCode, packet: UnsafeRawBufferPointer)? {
        var reader = ByteReader(body)
        guard let reason = reader.readUInt8().flatMap(ReasonCode.init(rawValue:)) else { return nil }
        return (reason, reader.readRest())
    }
}
