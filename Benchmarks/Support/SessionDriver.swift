import Common

/// Clients in pairs of a publisher and a subscriber, or one publisher and many subscribers, as a listener forwards them to the router:
/// frames in, frames out. It counts what comes and keeps a window of messages under way.
package final class SessionDriver {
    package struct Settings {
        package var pairs = 50
        /// Subscribers of each publisher.
        package var receivers = 1
        package var qos = QoS.atMostOnce
        package var payloadBytes = 128
        package var window = 64
        /// Further filters that match nothing of what is sent.
        package var otherFilters = 0
        /// Sessions outlive their connections.
        package var lasts = false

        package init() {}
    }

    private struct Publisher {
        var packet: [UInt8]
        var identifierOffset: Int
        var sent = 0
        var acknowledged = 0
        var delivered = 0
    }

    package let settings: Settings
    package private(set) var delivered = 0
    private var publishers: [Publisher] = []
    private var accepted = 0
    private var subscribed = 0
    /// SUBSCRIBE packets that are still to be sent, the next one last.
    private var subscribes: [Int: [[UInt8]]] = [:]
    private var linkBytes: UInt32 = 0
    private var credits: [(handle: UInt64, bytes: UInt32)] = []

    package init(_ settings: Settings) {
        self.settings = settings
        for index in 0..<settings.pairs {
            var packet = ByteBuffer()
            PublishPacket(
                qos: settings.qos,
                topic: Array("devices/\(index)/state".utf8),
                packetIdentifier: settings.qos == .atMostOnce ? 0 : 1,
                payload: [UInt8](repeating: 0x61, count: settings.payloadBytes)
            ).encode(into: &packet, version: .v5_0)
            let offset = packet.readableBytes - settings.payloadBytes - 3
            self.publishers.append(Publisher(packet: packet.array, identifierOffset: offset))
        }
    }

    private var sessions: Int { self.settings.pairs * (1 + self.settings.receivers) }
    /// Publishers come first.
    private func handle(_ slot: Int) -> UInt64 { 1 << 32 | UInt64(slot) }
    private func slot(_ handle: UInt64) -> Int { Int(handle & 0xFFFF_FFFF) }
    private func publisherIndex(ofSubscriber slot: Int) -> Int { (slot - self.settings.pairs) % self.settings.pairs }

    package var isReady: Bool {
        self.accepted == self.sessions && self.subscribed == self.settings.pairs * self.settings.receivers
    }

    // MARK: Out

    package func open(into output: inout ByteBuffer) {
        for slot in 0..<self.sessions {
            var connect = ByteBuffer()
            var properties = Properties()
            if self.settings.lasts { properties.sessionExpiryInterval = 3600 }
            ConnectPacket(
                version: .v5_0,
                keepAliveSeconds: 0,
                clientIdentifier: Array("driver-\(slot)".utf8),
                properties: properties
            ).encode(into: &connect)
            SessionOpen(
                connectStamp: UInt64(slot + 1),
                listenerName: Array("devices".utf8),
                peerAddress: Array("192.0.2.1:1".utf8),
                identity: nil,
                userName: nil,
                access: AccessRules(rules: [], noMatch: .allow),
                connect: connect.array
            ).encode(into: &output, handle: self.handle(slot))
        }
    }

    private func subscribe(_ slot: Int, _ output: inout ByteBuffer) {
        var filters = ["devices/\(self.publisherIndex(ofSubscriber: slot))/state"]
        if slot == self.settings.pairs, self.settings.otherFilters > 0 {
            filters += (0..<self.settings.otherFilters).map { "plants/\($0 % 100)/devices/\($0)/+" }
        }
        var packets: [[UInt8]] = []
        for start in stride(from: 0, to: filters.count, by: 500) {
            var packet = ByteBuffer()
            let part = filters[start..<min(start + 500, filters.count)].map {
                SubscribePacket.Subscription(filter: Array($0.utf8), qos: self.settings.qos)
            }
            SubscribePacket(packetIdentifier: UInt16(1 + start / 500), subscriptions: part)
                .encode(into: &packet, version: .v5_0)
            packets.append(packet.array)
        }
        self.subscribes[slot] = packets.reversed()
        self.subscribeNext(slot, &output)
    }

    /// One at a time: the router holds only so much of a session that waits for its turn.
    private func subscribeNext(_ slot: Int, _ output: inout ByteBuffer) {
        guard let packet = self.subscribes[slot]?.popLast() else {
            self.subscribed += 1
            return
        }
        packet.withUnsafeBytes { Self.write($0, slot: self.handle(slot), &output) }
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, slot handle: UInt64, _ output: inout ByteBuffer) {
        output.writeFrameHeader(.sessionPackets, handle: handle, bodyBytes: bytes.count)
        output.write(bytes)
    }

    /// As many messages as the window allows, those of one publisher in one frame.
    package func publish(into output: inout ByteBuffer) {
        for index in self.publishers.indices {
            let complete = self.publishers[index].delivered / self.settings.receivers
            let done =
                self.settings.qos == .atMostOnce ? complete : min(complete, self.publishers[index].acknowledged)
            let room = self.settings.window - (self.publishers[index].sent - done)
            guard room >= self.settings.window / 4 else { continue }
            let bytes = self.publishers[index].packet.count
            output.writeFrameHeader(.sessionPackets, handle: self.handle(index), bodyBytes: room * bytes)
            for _ in 0..<room {
                if self.settings.qos != .atMostOnce {
                    let identifier = UInt16(self.publishers[index].sent % 65_535) + 1
                    let offset = self.publishers[index].identifierOffset
                    self.publishers[index].packet[offset] = UInt8(identifier >> 8)
                    self.publishers[index].packet[offset + 1] = UInt8(identifier & 0xFF)
                }
                output.write(self.publishers[index].packet)
                self.publishers[index].sent += 1
            }
        }
    }

    /// Credit for what came.
    package func endTurn(into output: inout ByteBuffer) {
        guard self.linkBytes > 0 || !self.credits.isEmpty else { return }
        CreditFrame.encode(.deliveryCredit, into: &output, linkBytes: self.linkBytes, sessions: self.credits[...])
        self.linkBytes = 0
        self.credits.removeAll(keepingCapacity: true)
    }

    // MARK: In

    package func take(_ frame: Frame, _ output: inout ByteBuffer) {
        switch frame.kind {
        case .sessionAccepted:
            self.accepted += 1
            let slot = self.slot(frame.handle)
            if slot >= self.settings.pairs { self.subscribe(slot, &output) }
        case .sessionDeliver where frame.flags & FrameFlags.hasExchanges != 0:
            var exchanges = ExchangeFrame(frame.body)
            while let message = exchanges.next() {
                self.linkBytes += UInt32(message.packet.count)
                self.credits.append((frame.handle, UInt32(message.packet.count)))
                self.take(message.packet, self.slot(frame.handle), &output)
            }
        case .sessionDeliver:
            if frame.flags & FrameFlags.debitsCredit != 0 {
                self.linkBytes += UInt32(frame.body.count)
                self.credits.append((frame.handle, UInt32(frame.body.count)))
            }
            self.take(frame.body, self.slot(frame.handle), &output)
        case .sessionMulticast:
            guard let multicast = MulticastFrame(frame.body) else { return }
            for index in 0..<multicast.count {
                let handle = multicast.handle(at: index)
                self.linkBytes += UInt32(multicast.packet.count)
                self.credits.append((handle, UInt32(multicast.packet.count)))
                self.received(self.slot(handle), multicast.packetIdentifier(at: index), multicast.packet[0], &output)
            }
        case .sessionRefused, .sessionClose:
            preconditionFailure("the router ends a session of the driver")
        default:
            break
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ slot: Int, _ output: inout ByteBuffer) {
        var offset = 0
        while offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            guard case .header(let header) = FixedHeader.decode(rest), header.packetBytes <= rest.count else { return }
            offset += header.packetBytes
            switch header.type {
            case .publish:
                let topicBytes = Int(rest[header.headerBytes]) << 8 | Int(rest[header.headerBytes + 1])
                let place = header.headerBytes + 2 + topicBytes
                let identifier = rest[0] & 0b110 == 0 ? 0 : UInt16(rest[place]) << 8 | UInt16(rest[place + 1])
                self.received(slot, identifier, rest[0], &output)
            case .puback, .pubcomp:
                self.publishers[slot].acknowledged += 1
            case .pubrec:
                self.answer(0x62, UInt16(rest[2]) << 8 | UInt16(rest[3]), slot, &output)
            case .pubrel:
                self.answer(0x70, UInt16(rest[2]) << 8 | UInt16(rest[3]), slot, &output)
            case .suback:
                self.subscribeNext(slot, &output)
            default:
                break
            }
        }
    }

    private func received(_ slot: Int, _ identifier: UInt16, _ firstByte: UInt8, _ output: inout ByteBuffer) {
        self.publishers[self.publisherIndex(ofSubscriber: slot)].delivered += 1
        self.delivered += 1
        guard firstByte & 0b110 != 0 else { return }
        self.answer(firstByte & 0b110 == 0b100 ? 0x50 : 0x40, identifier, slot, &output)
    }

    private func answer(_ firstByte: UInt8, _ identifier: UInt16, _ slot: Int, _ output: inout ByteBuffer) {
        output.writeFrameHeader(.sessionPackets, handle: self.handle(slot), bodyBytes: 4)
        output.writeBigEndian(UInt16(firstByte) << 8 | 2)
        output.writeBigEndian(identifier)
    }
}
