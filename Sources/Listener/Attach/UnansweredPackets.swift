import Common

/// What a client has sent and the router has not answered, to be sent again to the next router: PUBLISH at QoS 1 and 2, PUBREL,
/// SUBSCRIBE, UNSUBSCRIBE and DISCONNECT, in their order.
///
/// One block of memory, of records:
///
/// ```
///  | packet bytes (4) | type of the answer, 0: it came (1) | marks (1) | packet id (2) | exchange (8) | packet |
/// ```
/// The exchange is that of a QoS 2 PUBLISH, 0 with any other; the only mark is `isMarked`.
///
/// Answers nearly always come in the order of the packets, so that the first record is the one; and it is empty while nothing is
/// under way. Where it is not one of the first few, an index is made, which stays until all have their answers.
struct UnansweredPackets: ~Copyable {
    private static var headerBytes: Int { 16 }
    /// DISCONNECT has no answer among the packets: what ends it is the end of the session.
    private static var answeredByEnd: UInt8 { 0xFF }
    /// Answered packets are in the way of others: beyond this, and beyond what is not answered, they are taken out.
    private static var answeredBytesMax: Int { 16 << 10 }
    /// Records that are looked through before an index is worth its memory.
    static var searchedMax: Int { 64 }

    struct Packet {
        /// As far as it is there.
        var bytes: UnsafeRawBufferPointer
        var isWhole: Bool
        var isMarked: Bool
        /// 0: it is no QoS 2 PUBLISH.
        var exchange: UInt64
    }

    private var buffer = ByteBuffer()
    private(set) var count = 0
    /// Of records with an answer.
    private var answeredBytes = 0
    /// Of the last packet, which is under way in parts.
    private var missingBytes = 0
    /// Of its record, as far as it is there.
    private var partBytes = 0
    /// Of all records without answer; nil while the one that is looked for is among the first ones.
    private var index: UnansweredIndex?
    /// Records that were looked at to find others, of all times.
    private(set) var recordsLookedAt: UInt64 = 0

    var isEmpty: Bool { self.count == 0 }
    /// So much is under way that the client is not read any further.
    var isFull: Bool {
        self.memoryBytes >= Limits.unansweredBytesMax || self.count >= Limits.unansweredPacketsMax
    }
    /// Records, answered ones among them.
    var memoryBytes: Int { self.buffer.readableBytes }
    var isIndexed: Bool { self.index != nil }
    /// The packet that is under way in parts is kept too.
    var keepsPart: Bool { self.missingBytes > 0 }

    /// Keeps a packet if it is one that has an answer.
    /// - Parameters:
    ///   - bytes: from its fixed header on: the whole packet, or what has come of it.
    ///   - exchange: of a QoS 2 PUBLISH.
    mutating func passed(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader, exchange: UInt64 = 0) {
        let answer: UInt8
        switch header.type {
        case .publish:
            switch header.flags & 0x06 {
            case 0x02: answer = PacketType.puback.rawValue
            case 0x04: answer = PacketType.pubrec.rawValue
            default: return
            }
        case .pubrel: answer = PacketType.pubcomp.rawValue
        case .subscribe: answer = PacketType.suback.rawValue
        case .unsubscribe: answer = PacketType.unsuback.rawValue
        case .disconnect: answer = Self.answeredByEnd
        default: return
        }
        var identifier: UInt16 = 0
        if answer != Self.answeredByEnd {
            guard let found = header.packetIdentifier(in: bytes) else { return }
            identifier = found
        }
        self.append(bytes, packetBytes: header.packetBytes, answer: answer, identifier, exchange)
    }

    /// Keeps a whole packet until its answer of that type.
    mutating func keep(_ packet: Packet, until answer: PacketType, _ identifier: UInt16) {
        self.append(packet.bytes, packetBytes: packet.bytes.count, answer: answer.rawValue, identifier, packet.exchange)
    }

    private mutating func append(
        _ bytes: UnsafeRawBufferPointer,
        packetBytes: Int,
        answer: UInt8,
        _ identifier: UInt16,
        _ exchange: UInt64
    ) {
        self.dropPart()
        self.buffer.reserve(Self.headerBytes + bytes.count)
        let key = UnansweredIndex.key(answer, identifier)
        self.index?.append(key, at: self.buffer.readableBytes)
        self.buffer.writeLittleEndian(UInt64(UInt32(truncatingIfNeeded: packetBytes)) | UInt64(key) << 32)
        self.buffer.writeLittleEndian(exchange)
        self.buffer.write(bytes)
        self.count += 1
        self.missingBytes = packetBytes - bytes.count
        self.partBytes = Self.headerBytes + bytes.count
    }

    /// Another packet comes instead of the rest of the one under way, which is none any more.
    private mutating func dropPart() {
        guard self.keepsPart else { return }
        let start = self.buffer.readableBytes - self.partBytes
        let header = self.buffer.readable.loadUnaligned(fromByteOffset: start, as: UInt64.self)
        if header & 0xFF_0000_0000 != 0 {
            self.count -= 1
            // It is the last of its key, and an index takes out first ones.
            self.index = nil
        } else {
            self.answeredBytes -= min(self.partBytes, self.answeredBytes)
        }
        self.buffer.removeLast(self.partBytes)
        self.missingBytes = 0
    }

    /// More of the packet that travels in parts. What is more than that is not of it.
    mutating func continued(_ bytes: UnsafeRawBufferPointer) {
        guard self.keepsPart else { return }
        let rest = UnsafeRawBufferPointer(rebasing: bytes.prefix(self.missingBytes))
        self.buffer.write(rest)
        self.missingBytes -= rest.count
        self.partBytes += rest.count
    }

    /// An answer goes down to the client.
    mutating func answered(_ type: PacketType, _ identifier: UInt16) {
        guard let offset = self.offset(of: type, identifier) else { return }
        self.index?.removeFirst(UnansweredIndex.key(type.rawValue, identifier))
        guard offset > 0 else { return self.removeFirst() }
        // Its turn comes when the ones before it are answered.
        let bytes = self.buffer.mutableReadable
        let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        bytes.storeBytes(of: header & 0xFFFF_FFFF, toByteOffset: offset, as: UInt64.self)
        self.count -= 1
        let end = offset + Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
        self.answeredBytes += min(end, bytes.count) - offset
        let unanswered = self.buffer.readableBytes - self.answeredBytes
        if self.answeredBytes > Self.answeredBytesMax, self.answeredBytes > unanswered { self.removeAnswered() }
    }

    /// The packet that waits for an answer; valid until something changes.
    mutating func packet(awaiting type: PacketType, _ identifier: UInt16) -> Packet? {
        guard let offset = self.offset(of: type, identifier) else { return nil }
        return self.packet(at: offset, self.buffer.readable).packet
    }

    /// The first record that waits for that answer.
    private mutating func offset(of type: PacketType, _ identifier: UInt16) -> Int? {
        let key = UnansweredIndex.key(type.rawValue, identifier)
        guard self.index == nil else { return self.indexedOffset(of: key) }
        let wanted = UInt64(key) << 32
        var offset = 0
        var searched = 0
        let bytes = self.buffer.readable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            self.recordsLookedAt &+= 1
            if header & ~(0xFFFF_FFFF | Self.markBit) == wanted { return offset }
            searched += 1
            guard searched < Self.searchedMax else {
                self.makeIndex()
                return self.indexedOffset(of: key)
            }
            offset += Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
        }
        return nil
    }

    private mutating func indexedOffset(of key: UInt32) -> Int? {
        self.recordsLookedAt &+= 1
        return self.index?.first(key)
    }

    private mutating func makeIndex() {
        let index = UnansweredIndex()
        var offset = 0
        let bytes = self.buffer.readable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            self.recordsLookedAt &+= 1
            if header & 0xFF_0000_0000 != 0 {
                index.append(UInt32(truncatingIfNeeded: (header & ~Self.markBit) >> 32), at: offset)
            }
            offset += Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
        }
        self.index = index
    }

    private static var markBit: UInt64 { 1 << 40 }

    private func packet(at offset: Int, _ bytes: UnsafeRawBufferPointer) -> (packet: Packet, end: Int) {
        let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        let start = offset + Self.headerBytes
        let end = start + Int(UInt32(truncatingIfNeeded: header))
        let packet = Packet(
            bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<min(end, bytes.count)]),
            isWhole: end <= bytes.count,
            isMarked: header & Self.markBit != 0,
            exchange: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self).littleEndian
        )
        return (packet, end)
    }

    /// Marks all that are there.
    mutating func markAll() {
        var offset = 0
        let bytes = self.buffer.mutableReadable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            if header & 0xFF_0000_0000 != 0 {
                bytes.storeBytes(of: header | Self.markBit, toByteOffset: offset, as: UInt64.self)
            }
            offset += Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
        }
    }

    /// Takes out the answered ones that stand behind others. The part under way stays: it is the last one.
    private mutating func removeAnswered() {
        var kept = ByteBuffer()
        var offset = 0
        let bytes = self.buffer.readable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let end = offset + Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
            self.recordsLookedAt &+= 1
            if header & 0xFF_0000_0000 != 0 || end > bytes.count {
                kept.write(UnsafeRawBufferPointer(rebasing: bytes[offset..<min(end, bytes.count)]))
            }
            offset = end
        }
        self.buffer = kept
        self.answeredBytes = 0
        if self.index != nil { self.makeIndex() }
    }

    private mutating func removeFirst() {
        self.count -= 1
        var isAnswered = true
        while isAnswered, !self.buffer.isEmpty {
            let header = self.buffer.readable.loadUnaligned(as: UInt64.self)
            let bytes = Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
            // One that was answered before all of it had come is over, whatever else comes of it.
            if bytes > self.buffer.readableBytes { self.missingBytes = 0 }
            let taken = min(bytes, self.buffer.readableBytes)
            if header & 0xFF_0000_0000 == 0 { self.answeredBytes -= min(taken, self.answeredBytes) }
            self.buffer.consume(taken)
            self.index?.consumed(taken)
            guard !self.buffer.isEmpty else { break }
            isAnswered = self.buffer.readable.loadUnaligned(as: UInt64.self) & 0xFF_0000_0000 == 0
        }
        guard self.buffer.isEmpty else { return }
        self.index = nil
        if self.buffer.capacity > 4096 { self.buffer.releaseIfEmpty() }
    }

    /// Calls `body` with each packet that has no answer, PUBLISH with DUP set.
    mutating func forEach(_ body: (Packet) -> Void) {
        var offset = 0
        let bytes = self.buffer.mutableReadable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let start = offset + Self.headerBytes
            if header & 0xFF_0000_0000 != 0, bytes[start] >> 4 == PacketType.publish.rawValue { bytes[start] |= 0x08 }
            let (packet, end) = self.packet(at: offset, UnsafeRawBufferPointer(bytes))
            offset = end
            if header & 0xFF_0000_0000 != 0 { body(packet) }
        }
    }
}
