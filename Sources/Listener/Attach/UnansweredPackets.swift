import Common

/// What a client has sent and the router has not answered, to be sent again to the next router: PUBLISH at QoS 1 and 2, PUBREL,
/// SUBSCRIBE, UNSUBSCRIBE and DISCONNECT, in their order.
///
/// One block of memory, of records:
///
/// ```
///  | packet bytes (4) | type of the answer, 0: it came (1) | 0 | packet id (2) | packet |
/// ```
///
/// Answers nearly always come in the order of the packets, so that the first record is the one; and it is empty while nothing is
/// under way.
struct UnansweredPackets: ~Copyable {
    private static var headerBytes: Int { 8 }
    /// DISCONNECT has no answer among the packets: what ends it is the end of the session.
    private static var answeredByEnd: UInt8 { 0xFF }

    private var buffer = ByteBuffer()
    private(set) var count = 0
    /// Of the last packet, which is under way in parts.
    private var missingBytes = 0
    /// Of its record, as far as it is there.
    private var partBytes = 0

    var isEmpty: Bool { self.count == 0 }
    /// So much is under way that the client is not read any further.
    var isFull: Bool {
        self.buffer.readableBytes >= Limits.unansweredBytesMax || self.count >= Limits.unansweredPacketsMax
    }
    /// The packet that is under way in parts is kept too.
    var keepsPart: Bool { self.missingBytes > 0 }

    /// Keeps a packet if it is one that has an answer.
    /// - Parameter bytes: from its fixed header on: the whole packet, or what has come of it.
    mutating func passed(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader) {
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
        self.dropPart()
        self.buffer.reserve(Self.headerBytes + bytes.count)
        self.buffer.writeLittleEndian(
            UInt64(UInt32(truncatingIfNeeded: header.packetBytes)) | UInt64(answer) << 32 | UInt64(identifier) << 48
        )
        self.buffer.write(bytes)
        self.count += 1
        self.missingBytes = header.packetBytes - bytes.count
        self.partBytes = Self.headerBytes + bytes.count
    }

    /// Another packet comes instead of the rest of the one under way, which is none any more.
    private mutating func dropPart() {
        guard self.keepsPart else { return }
        let start = self.buffer.readableBytes - self.partBytes
        let header = self.buffer.readable.loadUnaligned(fromByteOffset: start, as: UInt64.self)
        if header & 0xFF_0000_0000 != 0 { self.count -= 1 }
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
        let wanted = UInt64(type.rawValue) << 32 | UInt64(identifier) << 48
        var offset = 0
        let bytes = self.buffer.mutableReadable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            if header & ~0xFFFF_FFFF == wanted {
                guard offset > 0 else { return self.removeFirst() }
                // Its turn comes when the ones before it are answered.
                bytes.storeBytes(of: header & 0xFFFF_FFFF, toByteOffset: offset, as: UInt64.self)
                self.count -= 1
                return
            }
            offset += Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
        }
    }

    private mutating func removeFirst() {
        self.count -= 1
        var isAnswered = true
        while isAnswered, !self.buffer.isEmpty {
            let header = self.buffer.readable.loadUnaligned(as: UInt64.self)
            let bytes = Self.headerBytes + Int(UInt32(truncatingIfNeeded: header))
            // One that was answered before all of it had come is over, whatever else comes of it.
            if bytes > self.buffer.readableBytes { self.missingBytes = 0 }
            self.buffer.consume(min(bytes, self.buffer.readableBytes))
            guard !self.buffer.isEmpty else { break }
            isAnswered = self.buffer.readable.loadUnaligned(as: UInt64.self) & 0xFF_0000_0000 == 0
        }
        if self.buffer.isEmpty, self.buffer.capacity > 4096 { self.buffer.releaseIfEmpty() }
    }

    /// Calls `body` with each packet that has no answer, PUBLISH with DUP set, and whether all of it is there.
    mutating func forEach(_ body: (UnsafeRawBufferPointer, _ isWhole: Bool) -> Void) {
        var offset = 0
        let bytes = self.buffer.mutableReadable
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let start = offset + Self.headerBytes
            let end = start + Int(UInt32(truncatingIfNeeded: header))
            offset = end
            guard header & 0xFF_0000_0000 != 0 else { continue }
            if bytes[start] >> 4 == PacketType.publish.rawValue { bytes[start] |= 0x08 }
            body(UnsafeRawBufferPointer(rebasing: bytes[start..<min(end, bytes.count)]), end <= bytes.count)
        }
    }
}
