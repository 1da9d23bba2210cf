import Common

/// Finds the CONNECT packet at the start of a connection ([MQTT-3.1.0-1]).
enum ConnectReader {
    enum Result: Equatable {
        case needMore
        /// - Parameter bytes: the packet's length.
        case connect(ConnectPacket, bytes: Int)
        /// Close the connection. With a version the client gets a CONNACK with the code first; without one it is no MQTT client,
        /// or none that could read it ([MQTT-3.1.4-1]).
        case refuse(RefusalReason, code: ReasonCode, version: ProtocolVersion?, detail: String)
    }

    static func read(_ bytes: UnsafeRawBufferPointer) -> Result {
        guard let first = bytes.first else { return .needMore }
        if bytes.count >= 2, first == 0x16, bytes[1] == 0x03 {
            // A handshake record (RFC 8446, section 5.1), which looks like a CONNECT with wrong flags.
            return .refuse(.notMQTT, code: .protocolError, version: nil, detail: "a TLS handshake, but no TLS here")
        }
        guard first >> 4 == PacketType.connect.rawValue else {
            return .refuse(.notMQTT, code: .protocolError, version: nil, detail: "the first packet is no CONNECT")
        }
        let header: FixedHeader
        switch FixedHeader.decodeConnect(bytes) {
        case .needMore: return .needMore
        case .malformed(let error):
            return .refuse(.malformedConnect, code: error.reasonCode, version: nil, detail: error.description)
        case .header(let decoded): header = decoded
        }
        guard header.packetBytes <= Limits.connectPacketBytesMax else {
            let detail = "CONNECT of \(header.packetBytes) bytes, \(Limits.connectPacketBytesMax) are taken"
            return .refuse(.connectTooLarge, code: .packetTooLarge, version: nil, detail: detail)
        }
        guard bytes.count >= header.packetBytes else {
            // What is no MQTT at all is told from its name before the rest is waited for.
            return Self.looksLikeConnect(bytes, header) ? .needMore : Self.notMQTT
        }
        let packet = UnsafeRawBufferPointer(rebasing: bytes[..<header.packetBytes])
        do throws(DecodeError) {
            let connect = try ConnectPacket.decode(packet, header: header)
            // [MQTT-2.1.3-1]; in 3.1 these bits are DUP, QoS and RETAIN, "not used".
            guard header.flags == 0 || connect.version == .v3_1 else {
                let detail = "reserved flags in the first byte are set"
                return .refuse(.malformedConnect, code: .malformedPacket, version: nil, detail: detail)
            }
            return .connect(connect, bytes: header.packetBytes)
        } catch {
            let reason =
                error.reasonCode == .unsupportedProtocolVersion ? RefusalReason.protocolVersion : .malformedConnect
            let version = Self.versionToAnswer(packet, header, error)
            return .refuse(reason, code: error.reasonCode, version: version, detail: error.description)
        }
    }

    private static let notMQTT = Result.refuse(
        .notMQTT,
        code: .protocolError,
        version: nil,
        detail: "the protocol name is neither MQTT nor MQIsdp"
    )

    private static func looksLikeConnect(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader) -> Bool {
        let body = bytes[header.headerBytes...]
        let prefixes: [[UInt8]] = [[0, 4] + Array("MQTT".utf8), [0, 6] + Array("MQIsdp".utf8)]
        return prefixes.contains { zip($0, body).allSatisfy(==) }
    }

    /// The version to encode a CONNACK for a CONNECT that could not be decoded in; nil: none is sent. A level that nobody speaks
    /// is answered in the way of 5.0 (section 3.1.2.2).
    private static func versionToAnswer(
        _ packet: UnsafeRawBufferPointer,
        _ header: FixedHeader,
        _ error: DecodeError
    ) -> ProtocolVersion? {
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: packet[header.headerBytes...]))
        guard let nameBytes = reader.readBigEndian(UInt16.self), nameBytes == 4 || nameBytes == 6,
            reader.readBytes(Int(nameBytes)) != nil, let level = reader.readUInt8()
        else { return nil }
        if error.closesSilently || header.flags != 0 { return nil }
        if error.reasonCode == .unsupportedProtocolVersion { return .v5_0 }
        // Where the version has no return code for the mistake, the connection is closed without a CONNACK ([MQTT-3.1.4-1]).
        return ProtocolVersion(rawValue: level & 0x7F)
    }
}
