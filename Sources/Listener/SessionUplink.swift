import Common

/// What a session's client sends, on its way to the router: splits the byte stream into packets, answers PINGREQ, and writes
/// everything else into frames as it is, as far as the credit goes (`PacketType.usesCredit`).
///
/// All packets of one call travel in one frame (up to `Limits.packetPartBytes`). A packet above that size is not collected but
/// passed on in parts as it arrives, so that it blocks nobody and needs no memory here.
struct SessionUplink {
    enum End: Equatable {
        /// Not MQTT, or not any more: the reason code says what DISCONNECT tells the client.
        case malformed(DecodeError)
        /// Larger than `mqtt.max_packet_size` ([MQTT-3.2.2-15]).
        case tooLarge
        /// The client publishes faster than it may, and is to be disconnected for that.
        case rateExceeded
        /// DISCONNECT was passed on; what follows it is not looked at.
        case clientDisconnected
    }

    struct Progress: Equatable {
        /// Bytes that need not be kept.
        var consumed = 0
        /// A PUBLISH, SUBSCRIBE or UNSUBSCRIBE waits for credit, or one of these or PUBREL for answers to others: reading stops until `grant`, or
        /// until they have come.
        var isBlocked = false
        /// A PUBLISH waits because the client may not publish faster: reading stops until then.
        var blockedUntil: Instant?
        var end: End?
        /// PUBACK and PUBCOMP packets among what was passed on, and whether there was anything else.
        var acknowledgements = 0
        var isUrgent = false
        /// The last byte of some packet was among those that are done with.
        var endsPacket = false

        /// So many bytes are done with, of which the last is a packet's.
        @inline(__always)
        mutating func finish(_ bytes: Int) {
            self.consumed += bytes
            self.endsPacket = true
        }

        @inline(__always)
        mutating func count(_ type: PacketType) {
            if type == .puback || type == .pubcomp { self.acknowledgements += 1 } else { self.isUrgent = true }
        }
    }

    /// Bytes of packets that use credit that may still be sent up for this session. It may go below zero by the packet that uses it up.
    private(set) var credit: Int
    private let version: ProtocolVersion
    private let maximumPacketBytes: Int
    /// Nil: no limit.
    private var rate: PublishRateGate?
    /// Of the packet that travels in parts: bytes still to come, and what it is.
    private var partBytesLeft = 0
    private var partHeader = FixedHeader(type: .publish, flags: 0, headerBytes: 0, bodyBytes: 0)
    /// Of a packet whose first part went to a router that is gone: bytes still to come that go nowhere.
    private var lostBytesLeft = 0
    /// Nil: the session ends with the router.
    let attach: AttachState?
    /// QoS 1 and 2 messages that the router may have in flight towards the client.
    private let sendQuota: Int

    init(
        version: ProtocolVersion,
        credit: Int,
        maximumPacketBytes: Int,
        rate: PublishRateGate? = nil,
        attach: AttachState? = nil,
        sendQuota: Int = 0
    ) {
        self.sendQuota = sendQuota
        self.version = version
        self.attach = attach
        self.credit = credit
        self.rate = rate
        self.maximumPacketBytes = maximumPacketBytes
    }

    mutating func grant(_ bytes: UInt32) {
        self.credit += Int(bytes)
    }

    /// Bytes that belong to a packet whose beginning was passed on.
    var bytesInsidePacket: Int { self.partBytesLeft + self.lostBytesLeft }

    /// The router is gone. What went to it of a QoS 0 message is lost, and the rest of it is no use to the next one.
    mutating func routerLost() {
        guard self.partBytesLeft > 0, self.attach?.unanswered.keepsPart != true else { return }
        self.lostBytesLeft += self.partBytesLeft
        self.partBytesLeft = 0
    }

    /// There is a new router: it has the session, and gets what has no answer.
    /// - Parameter bootID: the router's.
    mutating func routerBack(
        credit: Int,
        handle: UInt64,
        bootID: [UInt8],
        linkCredit: inout Int,
        link: inout ByteBuffer
    ) {
        var used = 0
        if let attach = self.attach {
            used = attach.writeCompleting(into: &link, handle: handle, bootID: bootID)
            used += attach.writeUnanswered(into: &link, handle: handle)
        }
        self.credit = credit - used
        linkCredit -= used
    }

    /// Whether the router is in no need of the client's acknowledgements: it may send as many messages again before it has to wait
    /// for them.
    /// - Parameter waiting: acknowledgements that the router does not know of yet.
    func canSpareAcknowledgements(_ waiting: Int) -> Bool {
        guard let attach = self.attach else { return false }
        return (attach.outbound.count + waiting) * 2 < self.sendQuota
    }

    /// So much waits for answers that the client is not read.
    var isWaitingForAnswers: Bool { self.attach?.unanswered.isFull ?? false }

    /// - Parameters:
    ///   - linkCredit: what all sessions of the link may still send.
    ///   - link: gets the frames.
    ///   - replies: gets PINGRESP packets for the client.
    ///   - now: for the limit of the client's rate.
    mutating func forward(
        _ bytes: UnsafeRawBufferPointer,
        handle: UInt64,
        linkCredit: inout Int,
        link: inout ByteBuffer,
        replies: inout ByteBuffer,
        now: Instant = 0
    ) -> Progress {
        var progress = self.skipLost(bytes.count)
        // Whole packets from here to `progress.consumed` wait to be written as one frame.
        var runStart = progress.consumed
        scanning: while progress.consumed < bytes.count {
            if self.partBytesLeft > 0 {
                guard !self.partHeader.type.usesCredit || (self.credit > 0 && linkCredit > 0) else {
                    progress.isBlocked = true
                    break
                }
                self.forwardPart(bytes, &progress, handle: handle, linkCredit: &linkCredit, link: &link)
                runStart = progress.consumed
                if self.partBytesLeft == 0, self.partHeader.type == .disconnect {
                    progress.end = .clientDisconnected
                    break
                }
                continue
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[progress.consumed...])
            let header: FixedHeader
            switch FixedHeader.decode(rest, version: self.version) {
            case .needMore:
                break scanning
            case .malformed(let error):
                progress.end = .malformed(error)
                break scanning
            case .header(let decoded):
                header = decoded
            }
            guard header.packetBytes <= self.maximumPacketBytes else {
                progress.end = .tooLarge
                break
            }
            guard header.type != .pingreq || header.bodyBytes == 0 else {
                // Section 3.12: a fixed header is all there is.
                progress.end = .malformed(DecodeError(.malformedPacket, "PINGREQ with a body", closesSilently: true))
                break
            }
            let isWhole = header.packetBytes <= rest.count
            guard isWhole || self.mayBegin(rest, header) else { break }
            guard self.maySend(header, linkCredit, now: now, &progress) else { break }
            if header.packetBytes > Limits.packetPartBytes {
                Self.writeRun(bytes, runStart..<progress.consumed, handle: handle, link: &link)
                self.partBytesLeft = header.packetBytes
                self.partHeader = header
                runStart = progress.consumed
                continue
            }
            if header.type == .pingreq {
                Self.writeRun(bytes, runStart..<progress.consumed, handle: handle, link: &link)
                progress.finish(header.packetBytes)
                runStart = progress.consumed
                replies.writeBigEndian(UInt16(0xD000))
                continue
            }
            progress.count(header.type)
            if header.type.usesCredit {
                self.credit -= header.packetBytes
                linkCredit -= header.packetBytes
            }
            self.attach?.passedUp(UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes]), header)
            if progress.consumed + header.packetBytes - runStart > Limits.packetPartBytes {
                Self.writeRun(bytes, runStart..<progress.consumed, handle: handle, link: &link)
                runStart = progress.consumed
            }
            progress.finish(header.packetBytes)
            if header.type == .disconnect {
                progress.end = .clientDisconnected
                break
            }
        }
        Self.writeRun(bytes, runStart..<progress.consumed, handle: handle, link: &link)
        return progress
    }

    /// Whether a packet that is not whole goes on in parts: it is large, and its first part tells what has to be known of it.
    private func mayBegin(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader) -> Bool {
        guard header.packetBytes > Limits.packetPartBytes else { return false }
        return self.attach == nil || header.type != .publish || bytes.count >= Limits.packetPartBytes
            || header.packetIdentifier(in: bytes) != nil
    }

    /// Passes over those of the bytes that came that belong to a packet that is lost.
    private mutating func skipLost(_ count: Int) -> Progress {
        let skipped = min(self.lostBytesLeft, count)
        self.lostBytesLeft -= skipped
        return Progress(consumed: skipped, endsPacket: skipped > 0 && self.lostBytesLeft == 0)
    }

    /// Whether a packet goes on now; if not, `progress` says what becomes of it.
    private mutating func maySend(
        _ header: FixedHeader,
        _ linkCredit: Int,
        now: Instant,
        _ progress: inout Progress
    ) -> Bool {
        guard header.type.usesCredit else {
            // It needs no credit, but is kept until its answer comes.
            guard header.type == .pubrel, self.isWaitingForAnswers else { return true }
            progress.isBlocked = true
            return false
        }
        guard self.credit > 0, linkCredit > 0, !self.isWaitingForAnswers else {
            progress.isBlocked = true
            return false
        }
        guard header.type == .publish else { return true }
        guard let until = self.rate?.blockedUntil(now: now) else {
            self.rate?.passed(packetBytes: header.packetBytes, now: now)
            return true
        }
        switch self.rate?.exceeded {
        case .disconnect: progress.end = .rateExceeded
        case .slow, nil: progress.blockedUntil = until
        }
        return false
    }

    /// Passes on what is there of the packet that travels in parts, one part per call.
    private mutating func forwardPart(
        _ bytes: UnsafeRawBufferPointer,
        _ progress: inout Progress,
        handle: UInt64,
        linkCredit: inout Int,
        link: inout ByteBuffer
    ) {
        let offset = progress.consumed
        let count = min(bytes.count - offset, self.partBytesLeft, Limits.packetPartBytes)
        if let attach = self.attach {
            let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
            if self.partBytesLeft == self.partHeader.packetBytes {
                attach.passedUp(part, self.partHeader)
            } else {
                attach.continuedUp(part)
            }
        }
        self.partBytesLeft -= count
        if self.partHeader.type.usesCredit {
            self.credit -= count
            linkCredit -= count
        }
        let flags = self.partBytesLeft > 0 ? FrameFlags.packetContinues : 0
        link.writeFrameHeader(.sessionPackets, flags: flags, handle: handle, bodyBytes: count)
        link.write(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
        if self.partBytesLeft == 0 { progress.finish(count) } else { progress.consumed += count }
    }

    private static func writeRun(
        _ bytes: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        handle: UInt64,
        link: inout ByteBuffer
    ) {
        guard !range.isEmpty else { return }
        link.writeFrameHeader(.sessionPackets, handle: handle, bodyBytes: range.count)
        link.write(UnsafeRawBufferPointer(rebasing: bytes[range]))
    }
}
