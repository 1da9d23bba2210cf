import Common

/// One well-filled example of each frame body.
enum WireSamples {
    static let identity = CertificateIdentity(
        commonName: Array("346a004d".utf8),
        subject: Array("CN=346a004d,O=Fleet".utf8),
        issuer: Array("CN=Fleet CA".utf8),
        serialNumber: Array("0A1B".utf8),
        fingerprint: (0..<32).map { UInt8($0) },
        alternativeNames: [
            .init(kind: .dns, value: Array("a.example".utf8)), .init(kind: .ipAddress, value: Array("192.0.2.7".utf8)),
        ],
        notAfter: 1_900_000_000
    )

    static let access = AccessRules(
        isSuperuser: false,
        rules: [
            AccessRule(permission: .allow, actions: .all, filter: Array("devices/346a004d/#".utf8)),
            AccessRule(
                permission: .deny,
                actions: .publish,
                filter: Array("a/+".utf8),
                isLiteral: true,
                qosMask: 0b101,
                retain: .onlyRetained
            ),
        ],
        noMatch: .deny
    )

    static let open = SessionOpen(
        connectStamp: 0x0102_0304_0506_0708,
        listenerName: Array("devices".utf8),
        peerAddress: Array("192.0.2.7:40112".utf8),
        identity: Self.identity,
        userName: Array("user".utf8),
        access: Self.access,
        connect: [0x10, 0x0C, 0x00, 0x04]
    )

    static let attach = SessionAttach(
        sessionNumber: 0x0102,
        clientIdentifier: Array("a".utf8),
        open: Self.open,
        outstandingBytes: 3,
        unreportedBytes: 4,
        outbound: [
            .init(packetIdentifier: 1, stage: .atLeastOnce), .init(packetIdentifier: 0x0203, stage: .released),
        ],
        aliases: [.init(alias: 7, topic: Array("t".utf8))]
    )

    static func accepted(into buffer: inout ByteBuffer, keepsExchanges: Bool = false) {
        let connack: [UInt8] = [0x20, 2, 0, 0]
        connack.withUnsafeBytes { connack in
            Array("a".utf8).withUnsafeBytes { identifier in
                SessionAccepted(
                    sessionNumber: 0x0102_0304_0506_0708,
                    keepAliveSeconds: 0x0102,
                    clientIdentifier: identifier,
                    connack: connack,
                    keepsExchanges: keepsExchanges
                ).encode(into: &buffer, handle: 4)
            }
        }
    }

    static let query = AuthQuery(
        listenerName: Array("devices".utf8),
        rulesName: Array("default".utf8),
        peerAddress: Array("[2001:db8::1]:9".utf8),
        version: .v5_0,
        identity: Self.identity,
        clientIdentifier: Array("client".utf8),
        userName: nil,
        password: Array("public".utf8)
    )

    static let verdict = AuthVerdict(
        outcome: .allow,
        reason: .none,
        source: .diskCache,
        detail: Array("detail".utf8),
        access: Self.access,
        credentialTag: [9, 8, 7],
        keyHash: 0x1122_3344_5566_7788
    )

    static let hello = LinkHello(
        role: .listener,
        bootID: (0..<16).map { UInt8($0 + 0x40) },
        name: Array("listener-1".utf8),
        sessionCreditBytes: 262_144,
        linkCreditBytes: 67_108_864
    )

    /// The bytes that `write` appends.
    static func bytes(_ write: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        write(&buffer)
        return buffer.array
    }

    /// The body of the one frame in `bytes`.
    static func body(_ bytes: [UInt8]) -> [UInt8] { Array(bytes.dropFirst(FrameHeader.byteCount)) }

    /// All frames in `bytes` as (kind, flags, handle, body); nil when there is something else or a rest.
    static func frames(_ bytes: [UInt8]) -> [PlainFrame]? {
        bytes.withUnsafeBytes { memory in
            var frames: [PlainFrame] = []
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: memory, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                frames.append(PlainFrame(frame))
            }
            return offset == memory.count ? frames : nil
        }
    }
}

/// A frame that outlives its buffer.
struct PlainFrame: Equatable {
    var kind: UInt8
    var flags: UInt8
    var handle: UInt64
    var body: [UInt8]

    init(_ frame: Frame) {
        self.kind = frame.header.kind
        self.flags = frame.flags
        self.handle = frame.handle
        self.body = [UInt8](frame.body)
    }
}
