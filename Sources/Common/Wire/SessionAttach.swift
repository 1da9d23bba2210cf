/// Listener to a router that was started while the session was open: its connection lives, and this is how far it is.
public struct SessionAttach: Equatable, Sendable {
    public struct Outbound: Equatable, Sendable {
        public var packetIdentifier: UInt16
        public var stage: OutboundStage

        public init(packetIdentifier: UInt16, stage: OutboundStage) {
            self.packetIdentifier = packetIdentifier
            self.stage = stage
        }
    }

    public struct Alias: Equatable, Sendable {
        public var alias: UInt16
        public var topic: [UInt8]

        public init(alias: UInt16, topic: [UInt8]) {
            self.alias = alias
            self.topic = topic
        }
    }

    /// A PUBLISH of which the client has the beginning.
    public struct Partial: Equatable, Sendable {
        /// 0 at QoS 0.
        public var packetIdentifier: UInt16
        public var packetBytes: UInt32
        /// Of them, those that were passed to the client.
        public var passedBytes: UInt32

        public init(packetIdentifier: UInt16, packetBytes: UInt32, passedBytes: UInt32) {
            self.packetIdentifier = packetIdentifier
            self.packetBytes = packetBytes
            self.passedBytes = passedBytes
        }
    }

    /// QoS 2 messages that routers have in memory only: see docs/adr/0014.
    public struct Exchanges: Equatable, Sendable {
        /// QoS 2 PUBLISH packets that came on this connection.
        public var publishCount: UInt64
        /// Those from the client are kept until their PUBCOMP, and sent again.
        public var keeps: Bool
        /// Messages that were passed to the client, as far as their publishers may not have heard that they were.
        public var delivered: [UInt64]

        public init(publishCount: UInt64 = 0, keeps: Bool = false, delivered: [UInt64] = []) {
            self.publishCount = publishCount
            self.keeps = keeps
            self.delivered = delivered
        }
    }

    /// The first wire version with `exchanges`.
    public static let exchangesVersion: UInt8 = 4

    /// From `SessionAccepted`.
    public var sessionNumber: UInt64
    public var clientIdentifier: [UInt8]
    /// With the rules that apply now.
    public var open: SessionOpen
    /// PUBLISH bytes that came down and are not written to the client.
    public var outstandingBytes: UInt32
    /// Of those that were written, the ones for which the session's credit was not returned.
    public var unreportedBytes: UInt32
    /// Messages that were passed to the client and are not done with.
    public var outbound: [Outbound]
    /// Topic aliases that the client has set (MQTT 5.0, section 3.3.2.3.4).
    public var aliases: [Alias]
    /// Nil: it has none.
    public var partial: Partial?
    /// From `exchangesVersion` on.
    public var exchanges: Exchanges?
    /// As `FrameFlags.canBeMadeAnew`.
    public var canBeMadeAnew: Bool

    public init(
        sessionNumber: UInt64,
        clientIdentifier: [UInt8],
        open: SessionOpen,
        outstandingBytes: UInt32 = 0,
        unreportedBytes: UInt32 = 0,
        outbound: [Outbound] = [],
        aliases: [Alias] = [],
        partial: Partial? = nil,
        exchanges: Exchanges? = nil,
        canBeMadeAnew: Bool = false
    ) {
        self.canBeMadeAnew = canBeMadeAnew
        self.partial = partial
        self.exchanges = exchanges
        self.sessionNumber = sessionNumber
        self.clientIdentifier = clientIdentifier
        self.open = open
        self.outstandingBytes = outstandingBytes
        self.unreportedBytes = unreportedBytes
        self.outbound = outbound
        self.aliases = aliases
    }

    public func encode(into buffer: inout ByteBuffer, handle: UInt64) {
        var flags = self.exchanges == nil ? 0 : FrameFlags.hasExchanges
        if self.canBeMadeAnew { flags |= FrameFlags.canBeMadeAnew }
        if self.partial?.packetIdentifier == 0 { flags |= FrameFlags.partialHasNoIdentifier }
        let position = buffer.beginFrame(.sessionAttach, flags: flags, handle: handle)
        buffer.writeLittleEndian(self.sessionNumber)
        buffer.writeField(self.clientIdentifier)
        self.open.encodeBody(into: &buffer)
        buffer.writeLittleEndian(self.outstandingBytes)
        buffer.writeLittleEndian(self.unreportedBytes)
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: self.outbound.count))
        for entry in self.outbound {
            buffer.writeLittleEndian(entry.packetIdentifier)
            buffer.write(entry.stage.rawValue)
        }
        buffer.writeLittleEndian(UInt32(truncatingIfNeeded: self.aliases.count))
        for entry in self.aliases {
            buffer.writeLittleEndian(entry.alias)
            buffer.writeField(entry.topic)
        }
        if let exchanges = self.exchanges {
            buffer.writeLittleEndian(exchanges.publishCount)
            buffer.write(UInt8(exchanges.keeps ? 1 : 0))
            buffer.writeLittleEndian(UInt32(truncatingIfNeeded: exchanges.delivered.count))
            for identity in exchanges.delivered { buffer.writeLittleEndian(identity) }
        }
        if let partial = self.partial {
            // Routers that do not know the flag look for such a message, find none, and refuse the session.
            buffer.writeLittleEndian(partial.packetIdentifier == 0 ? UInt16.max : partial.packetIdentifier)
            buffer.writeLittleEndian(partial.packetBytes)
            buffer.writeLittleEndian(partial.passedBytes)
        }
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer, flags: UInt8 = 0) -> SessionAttach? {
        var reader = ByteReader(body)
        guard let number = reader.readLittleEndian(UInt64.self), let identifier = reader.readField(),
            let open = SessionOpen(&reader), let outstanding = reader.readLittleEndian(UInt32.self),
            let unreported = reader.readLittleEndian(UInt32.self), let count = reader.readLittleEndian(UInt32.self),
            count <= UInt16.max
        else { return nil }
        var attach = SessionAttach(
            sessionNumber: number,
            clientIdentifier: identifier,
            open: open,
            outstandingBytes: outstanding,
            unreportedBytes: unreported,
            canBeMadeAnew: flags & FrameFlags.canBeMadeAnew != 0
        )
        for _ in 0..<count {
            guard let packetIdentifier = reader.readLittleEndian(UInt16.self), packetIdentifier != 0,
                let stage = reader.readUInt8().flatMap(OutboundStage.init(rawValue:)), stage != .free
            else { return nil }
            attach.outbound.append(Outbound(packetIdentifier: packetIdentifier, stage: stage))
        }
        guard let aliases = reader.readLittleEndian(UInt32.self), aliases <= UInt16.max else { return nil }
        for _ in 0..<aliases {
            guard let alias = reader.readLittleEndian(UInt16.self), let topic = reader.readField() else { return nil }
            attach.aliases.append(Alias(alias: alias, topic: topic))
        }
        if flags & FrameFlags.hasExchanges != 0 {
            guard let exchanges = Exchanges(&reader) else { return nil }
            attach.exchanges = exchanges
        }
        if reader.isAtEnd { return attach }
        guard let packetIdentifier = reader.readLittleEndian(UInt16.self), packetIdentifier != 0,
            let packetBytes = reader.readLittleEndian(UInt32.self), let passed = reader.readLittleEndian(UInt32.self),
            passed < packetBytes, reader.isAtEnd
        else { return nil }
        attach.partial = Partial(
            packetIdentifier: flags & FrameFlags.partialHasNoIdentifier == 0 ? packetIdentifier : 0,
            packetBytes: packetBytes,
            passedBytes: passed
        )
        return attach
    }
}

extension SessionAttach.Exchanges {
    /// Nil when it is broken.
    fileprivate init?(_ reader: inout ByteReader) {
        guard let publishCount = reader.readLittleEndian(UInt64.self), let keeps = reader.readUInt8(), keeps <= 1,
            let count = reader.readLittleEndian(UInt32.self), Int(count) <= reader.remaining / 8
        else { return nil }
        self.init(publishCount: publishCount, keeps: keeps == 1)
        self.delivered.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let identity = reader.readLittleEndian(UInt64.self) else { return nil }
            self.delivered.append(identity)
        }
    }
}
