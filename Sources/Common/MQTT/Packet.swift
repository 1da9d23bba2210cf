/// An MQTT control packet of any version (MQTT 5.0, section 2.1.2).
///
/// This is the comfortable form, one value per packet with everything copied out. The path of a PUBLISH through the broker
/// uses `PublishView` instead, which refers to the received bytes.
public enum Packet: Equatable, Sendable {
    case connect(ConnectPacket)
    case connack(ConnackPacket)
    case publish(PublishPacket)
    case puback(AcknowledgementPacket)
    case pubrec(AcknowledgementPacket)
    case pubrel(AcknowledgementPacket)
    case pubcomp(AcknowledgementPacket)
    case subscribe(SubscribePacket)
    case suback(SubackPacket)
    case unsubscribe(UnsubscribePacket)
    case unsuback(UnsubackPacket)
    case pingreq
    case pingresp
    case disconnect(DisconnectPacket)
    case auth(AuthPacket)
}

extension Packet {
    public var type: PacketType {
        switch self {
        case .connect: .connect
        case .connack: .connack
        case .publish: .publish
        case .puback: .puback
        case .pubrec: .pubrec
        case .pubrel: .pubrel
        case .pubcomp: .pubcomp
        case .subscribe: .subscribe
        case .suback: .suback
        case .unsubscribe: .unsubscribe
        case .unsuback: .unsuback
        case .pingreq: .pingreq
        case .pingresp: .pingresp
        case .disconnect: .disconnect
        case .auth: .auth
        }
    }

    /// Reads a packet of either direction: who may send what is for the caller to judge.
    ///
    /// - Parameters:
    ///   - packet: the whole packet, fixed header included, and nothing more.
    ///   - header: what `FixedHeader.decode` read from it.
    ///   - version: of the connection; a CONNECT says its own.
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> Packet {
        switch header.type {
        case .connect: return .connect(try ConnectPacket.decode(packet, header: header))
        case .connack: return .connack(try ConnackPacket.decode(packet, header: header, version: version))
        case .publish: return .publish(try PublishPacket.decode(packet, header: header, version: version))
        case .puback: return .puback(try AcknowledgementPacket.decode(packet, header: header, version: version))
        case .pubrec: return .pubrec(try AcknowledgementPacket.decode(packet, header: header, version: version))
        case .pubrel: return .pubrel(try AcknowledgementPacket.decode(packet, header: header, version: version))
        case .pubcomp: return .pubcomp(try AcknowledgementPacket.decode(packet, header: header, version: version))
        case .subscribe: return .subscribe(try SubscribePacket.decode(packet, header: header, version: version))
        case .suback: return .suback(try SubackPacket.decode(packet, header: header, version: version))
        case .unsubscribe: return .unsubscribe(try UnsubscribePacket.decode(packet, header: header, version: version))
        case .unsuback: return .unsuback(try UnsubackPacket.decode(packet, header: header, version: version))
        case .disconnect: return .disconnect(try DisconnectPacket.decode(packet, header: header, version: version))
        case .auth: return .auth(try AuthPacket.decode(packet, header: header, version: version))
        case .pingreq, .pingresp:
            // Sections 3.12 and 3.13: a fixed header is all there is.
            guard header.bodyBytes == 0 else {
                throw DecodeError(.malformedPacket, "PINGREQ or PINGRESP with a body", closesSilently: true)
            }
            return header.type == .pingreq ? .pingreq : .pingresp
        }
    }

    /// Appends the packet. It must be one that `decode` would accept; a CONNECT is written in its own version.
    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        switch self {
        case .connect(let packet): packet.encode(into: &buffer)
        case .connack(let packet): packet.encode(into: &buffer, version: version)
        case .publish(let packet): packet.encode(into: &buffer, version: version)
        case .puback(let packet), .pubrec(let packet), .pubrel(let packet), .pubcomp(let packet):
            packet.encode(into: &buffer, type: self.type, version: version)
        case .subscribe(let packet): packet.encode(into: &buffer, version: version)
        case .suback(let packet): packet.encode(into: &buffer, version: version)
        case .unsubscribe(let packet): packet.encode(into: &buffer, version: version)
        case .unsuback(let packet): packet.encode(into: &buffer, version: version)
        case .disconnect(let packet): packet.encode(into: &buffer, version: version)
        case .auth(let packet): packet.encode(into: &buffer)
        case .pingreq, .pingresp:
            buffer.write(self.type.rawValue << 4)
            buffer.write(0 as UInt8)
        }
    }
}
