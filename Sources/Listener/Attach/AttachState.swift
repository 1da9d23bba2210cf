import Common

/// What the listener remembers of an open session, so that a router that is started meanwhile can go on with it: see
/// `SessionAttach`, and docs/adr/0010.
///
/// It only looks at packets as they pass, and trusts neither end: what does not decode is not remembered.
final class AttachState {
    /// Of aliases that a client has set: beyond that the session ends with the router.
    private static var aliasBytesMax: Int { 1 << 20 }

    let sessionNumber: UInt64
    let clientIdentifier: [UInt8]
    private let version: ProtocolVersion
    /// The client may set topic aliases.
    private let takesAliases: Bool
    private(set) var unanswered = UnansweredPackets()
    /// The router has the client's QoS 2 messages in memory only.
    private(set) var keepsExchanges: Bool
    /// Another router can make the session anew, for its client was told nothing that had to be stored.
    private(set) var canBeMadeAnew: Bool
    /// Nil: there was no such message either way.
    private var kept: KeptExchanges?
    private let connectStamp: UInt64
    /// Of the router that the session is with, or was last.
    private(set) var routerBootID: [UInt8]
    private(set) var outbound = OutboundIdentifiers()
    private var aliases: [UInt16: [UInt8]] = [:]
    private var aliasBytes = 0
    private(set) var isBeyondLimits = false
    /// The router, by its boot id, that alone knows all that the client was told; nil: each one does.
    private(set) var unstoredBy: [UInt8]?
    /// The router that said so of the answers that come next. Of what never came, each router can be asked again.
    private var announcedBy: [UInt8]?
    /// The packet that comes in parts and is under way.
    private var partial: SessionAttach.Partial?
    /// A packet of which the client has a part can be continued by another router.
    private(set) var continuesPartial = false

    init(
        sessionNumber: UInt64,
        clientIdentifier: [UInt8],
        version: ProtocolVersion,
        takesAliases: Bool,
        connectStamp: UInt64 = 0,
        keepsExchanges: Bool = false,
        canBeMadeAnew: Bool = false,
        routerBootID: [UInt8] = []
    ) {
        self.canBeMadeAnew = canBeMadeAnew
        self.sessionNumber = sessionNumber
        self.clientIdentifier = clientIdentifier
        self.keepsExchanges = keepsExchanges
        self.routerBootID = routerBootID
        self.connectStamp = connectStamp
        self.version = version
        self.takesAliases = takesAliases && version.hasProperties
    }

    /// The router can't store what it tells the client next.
    /// - Parameter bootID: of the router.
    func isUnstored(by bootID: [UInt8]) { self.announcedBy = bootID }

    /// Everything that the client was told is stored.
    func isStored() {
        self.announcedBy = nil
        self.unstoredBy = nil
    }

    /// The session goes on, and these are in flight since an earlier connection.
    func resumed(_ session: SessionResumed) {
        for identifier in session.awaitingPubrel { self.outbound[identifier] = .received }
    }

    // MARK: Up

    /// A packet goes to the router.
    /// - Parameter bytes: all of it, or its first part.
    @inline(__always)
    func passedUp(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader) {
        switch header.type {
        case .publish:
            if self.takesAliases, self.passedAliased(bytes, header) { return }
            if header.flags & 0x06 != 0 { self.unanswered.passed(bytes, header, exchange: self.nextExchange(header)) }
        case .puback, .pubcomp:
            if self.outbound.count > 0, let identifier = header.packetIdentifier(in: bytes) {
                self.outbound[identifier] = .free
            }
        case .pubrec:
            if let identifier = header.packetIdentifier(in: bytes) {
                self.notePubrec(bytes, header, identifier)
            }
        case .subscribe, .unsubscribe, .pubrel, .disconnect:
            self.unanswered.passed(bytes, header)
        case .connect, .connack, .suback, .unsuback, .pingreq, .pingresp, .auth:
            break
        }
    }

    /// Of a PUBLISH; 0: the router stores it.
    @inline(__always)
    private func nextExchange(_ header: FixedHeader) -> UInt64 {
        self.keepsExchanges && header.flags & 0x04 != 0 ? self.keptExchanges().identity.next() : 0
    }

    private func keptExchanges() -> KeptExchanges {
        if let kept = self.kept { return kept }
        let made = KeptExchanges(
            identity: ExchangeIdentity(
                clientIdentifier: self.clientIdentifier,
                sessionNumber: self.sessionNumber,
                connectStamp: self.connectStamp
            )
        )
        self.kept = made
        return made
    }

    func continuedUp(_ bytes: UnsafeRawBufferPointer) {
        self.unanswered.continued(bytes)
    }

    private func notePubrec(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader, _ identifier: UInt16) {
        guard self.outbound[identifier] == .exactlyOnce else { return }
        self.outbound[identifier] = self.isFailure(bytes, header) ? .free : .received
    }

    /// Whether a PUBREC tells of a failure, which ends the exchange [MQTT-4.3.3-9].
    private func isFailure(_ pubrec: UnsafeRawBufferPointer, _ header: FixedHeader) -> Bool {
        let reason = header.headerBytes + 2
        return self.version.hasProperties && header.bodyBytes > 2 && reason < pubrec.count && pubrec[reason] >= 0x80
    }

    /// A PUBLISH with an alias is kept with its topic: the alias may stand for another one when it is sent again.
    /// - Returns: false when it has none.
    private func passedAliased(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader) -> Bool {
        guard Self.hasProperties(bytes, header) else { return false }
        // Of a large packet the first part, as if its payload ended there.
        var part = header
        part.bodyBytes = min(header.bodyBytes, bytes.count - header.headerBytes)
        guard let publish = try? PublishView.decode(bytes, header: part, version: self.version), publish.topicAlias != 0
        else { return false }
        if !publish.topic.isEmpty { self.note(publish.topicAlias, [UInt8](bytes[publish.topic])) }
        guard publish.qos != .atMostOnce else { return true }
        // One that was never set is the router's to complain about.
        guard let topic = self.aliases[publish.topicAlias] else { return false }
        let named = publish.naming(topic, in: bytes, header)
        let exchange = self.nextExchange(named.header)
        named.bytes.withUnsafeBytes { self.unanswered.passed($0, named.header, exchange: exchange) }
        return true
    }

    private func note(_ alias: UInt16, _ topic: [UInt8]) {
        self.aliasBytes += topic.count - (self.aliases.updateValue(topic, forKey: alias)?.count ?? 0)
        if self.aliasBytes > Self.aliasBytesMax { self.isBeyondLimits = true }
    }

    private static func hasProperties(_ publish: UnsafeRawBufferPointer, _ header: FixedHeader) -> Bool {
        let topic = header.headerBytes
        guard topic + 2 <= publish.count else { return false }
        let topicBytes = Int(UInt16(publish[topic]) << 8 | UInt16(publish[topic + 1]))
        let properties = topic + 2 + topicBytes + (header.flags & 0x06 == 0 ? 0 : 2)
        return properties < publish.count && publish[properties] != 0
    }

    // MARK: Down

    /// Packets go to the client; the last one may be the beginning of one, of which the rest comes next.
    /// - Parameter isStored: another router can go on with that one.
    func passedDown(_ bytes: UnsafeRawBufferPointer, isStored: Bool = false) {
        var offset = self.continuedDown(bytes.count)
        while offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            guard case .header(let header) = FixedHeader.decode(rest, version: self.version) else { return }
            self.passedDown(rest, header)
            if header.packetBytes > rest.count { self.beginPartial(rest, header, isStored: isStored) }
            offset += header.packetBytes
        }
    }

    private func beginPartial(_ part: UnsafeRawBufferPointer, _ header: FixedHeader, isStored: Bool) {
        let hasIdentifier = header.type == .publish && header.flags & 0x06 != 0
        let identifier = hasIdentifier ? header.packetIdentifier(in: part) : 0
        self.continuesPartial = isStored && header.type == .publish && identifier != nil
        self.partial = SessionAttach.Partial(
            packetIdentifier: identifier ?? 0,
            packetBytes: UInt32(clamping: header.packetBytes),
            passedBytes: UInt32(clamping: part.count)
        )
    }

    /// - Returns: how many of the bytes are of a packet whose beginning was passed on before.
    private func continuedDown(_ count: Int) -> Int {
        guard let partial = self.partial else { return 0 }
        let part = min(UInt32(clamping: count), partial.packetBytes - partial.passedBytes)
        self.partial?.passedBytes += part
        if partial.passedBytes + part == partial.packetBytes {
            self.partial = nil
            self.continuesPartial = false
        }
        return Int(part)
    }

    /// - Parameter packet: all of it, or its first part.
    private func passedDown(_ packet: UnsafeRawBufferPointer, _ header: FixedHeader) {
        if header.type == .publish, header.flags & 0x06 == 0 { return }
        guard header.type != .pingresp, header.type != .connack, header.type != .disconnect,
            let identifier = header.packetIdentifier(in: packet)
        else { return }
        switch header.type {
        case .publish: self.outbound[identifier] = header.flags & 0x04 != 0 ? .exactlyOnce : .atLeastOnce
        case .pubrel: if self.outbound[identifier] != .free { self.outbound[identifier] = .released }
        case .pubrec:
            if !self.isFailure(packet, header) { self.canBeMadeAnew = false }
            if self.keepsExchanges { self.keepUntilCompleted(packet, header, identifier) }
            self.unanswered.answered(.pubrec, identifier)
        case .pubcomp:
            self.kept?.completing.answered(.pubcomp, identifier)
            self.unanswered.answered(.pubcomp, identifier)
        case .suback, .unsuback:
            if self.announcedBy == self.routerBootID { self.unstoredBy = self.announcedBy }
            if header.type == .suback { self.canBeMadeAnew = false }
            self.unanswered.answered(header.type, identifier)
        case .puback: self.unanswered.answered(header.type, identifier)
        case .connect, .connack, .subscribe, .unsubscribe, .pingreq, .pingresp, .disconnect, .auth: break
        }
    }

    private func keepUntilCompleted(
        _ pubrec: UnsafeRawBufferPointer,
        _ header: FixedHeader,
        _ identifier: UInt16
    ) {
        guard !self.isFailure(pubrec, header), let kept = self.kept,
            let packet = self.unanswered.packet(awaiting: .pubrec, identifier),
            packet.isWhole, packet.exchange != 0
        else { return }
        // The last one under an identifier is the one that counts.
        kept.completing.answered(.pubcomp, identifier)
        kept.completing.keep(packet, until: .pubcomp, identifier)
    }

    /// QoS 2 messages go to the client, each whole, and into `output`.
    /// - Returns: their bytes.
    func passedDown(_ exchanges: inout ExchangeFrame, marks: UInt64, into output: inout ByteBuffer) -> Int {
        let kept = self.keptExchanges()
        var bytes = 0
        while let message = exchanges.next() {
            kept.delivered.add(message.exchange, marks: marks)
            self.passedDown(message.packet, message.header)
            output.write(message.packet)
            bytes += message.packet.count
        }
        return bytes
    }

    /// A PUBLISH whose identifier was not written into it yet.
    @inline(__always)
    func passedDown(firstByte: UInt8, identifier: UInt16) {
        switch firstByte & 0x06 {
        case 0x02: self.outbound[identifier] = .atLeastOnce
        case 0x04: self.outbound[identifier] = .exactlyOnce
        default: break
        }
    }

    // MARK: The next router

    /// - Parameter marks: how often the router has said that messages are settled.
    func attach(_ open: SessionOpen, outstandingBytes: Int, unreportedBytes: Int, marks: UInt64) -> SessionAttach {
        SessionAttach(
            sessionNumber: self.sessionNumber,
            clientIdentifier: self.clientIdentifier,
            open: open,
            outstandingBytes: UInt32(clamping: outstandingBytes),
            unreportedBytes: UInt32(clamping: unreportedBytes),
            outbound: self.outbound.all,
            aliases: self.aliases.sorted { $0.key < $1.key }.map {
                SessionAttach.Alias(alias: $0.key, topic: $0.value)
            },
            partial: self.continuesPartial ? self.partial : nil,
            exchanges: SessionAttach.Exchanges(
                publishCount: self.kept?.identity.publishCount ?? 0,
                keeps: self.keepsExchanges,
                delivered: self.kept?.delivered.all(marks: marks) ?? []
            ),
            canBeMadeAnew: self.canBeMadeAnew
        )
    }

    /// The session goes on with a router that knows of no exchanges.
    /// - Returns: false when it cannot.
    func giveUpExchanges() -> Bool {
        guard self.kept?.completing.isEmpty ?? true else { return false }
        self.keepsExchanges = false
        return true
    }

    /// Writes the QoS 2 messages that only the router before this one had, as frames for this one.
    /// - Returns: bytes of packets, which use credit.
    func writeCompleting(into link: inout ByteBuffer, handle: UInt64, bootID: [UInt8]) -> Int {
        if bootID != self.routerBootID {
            self.kept?.completing.markAll()
            self.routerBootID = bootID
        }
        return self.writeCompleting(into: &link, handle: handle, onlyMarked: true)
    }

    /// - Parameter onlyMarked: those that the router did not answer itself.
    func writeCompleting(into link: inout ByteBuffer, handle: UInt64, onlyMarked: Bool) -> Int {
        var credit = 0
        self.kept?.completing.forEach { packet in
            guard packet.isMarked || !onlyMarked else { return }
            credit += packet.bytes.count
            Self.write(packet, hasPubrec: true, into: &link, handle: handle)
        }
        return credit
    }

    /// Writes the packets that have no answer as frames for the router.
    /// - Returns: bytes of those that use credit.
    func writeUnanswered(into link: inout ByteBuffer, handle: UInt64) -> Int {
        var credit = 0
        self.unanswered.forEach { packet in
            if PacketType(rawValue: packet.bytes[0] >> 4)?.usesCredit ?? false { credit += packet.bytes.count }
            Self.write(packet, hasPubrec: false, into: &link, handle: handle)
        }
        return credit
    }

    private static func write(
        _ packet: UnansweredPackets.Packet,
        hasPubrec: Bool,
        into link: inout ByteBuffer,
        handle: UInt64
    ) {
        let bytes = packet.bytes
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Limits.packetPartBytes)
            var flags = end < bytes.count || !packet.isWhole ? FrameFlags.packetContinues : 0
            let hasExchange = packet.exchange != 0 && start == 0
            if hasExchange { flags |= FrameFlags.hasExchanges }
            if hasPubrec { flags |= FrameFlags.hasPubrec }
            let prefix = hasExchange ? MemoryLayout<UInt64>.size : 0
            link.writeFrameHeader(.sessionPackets, flags: flags, handle: handle, bodyBytes: prefix + end - start)
            if hasExchange { link.writeLittleEndian(packet.exchange) }
            link.write(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            start = end
        }
    }
}
