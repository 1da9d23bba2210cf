/// Section 3.14.
public struct DisconnectPacket: Equatable, Sendable {
    public var reasonCode: ReasonCode
    public var properties: Properties

    public init(reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

extension DisconnectPacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> DisconnectPacket {
        var reader = try ByteReader(packet, after: header, of: .disconnect)
        var result = DisconnectPacket()
        if version.hasProperties {
            // Sections 3.14.2.1 and 3.14.2.2.1: reason code and properties may be left out.
            if !reader.isAtEnd { result.reasonCode = try Self.decodeReasonCode(&reader) }
            if !reader.isAtEnd { result.properties = try reader.requireProperties(of: packet, allowed: .disconnect) }
        }
        try reader.requireEnd()
        return result
    }

    /// [MQTT-3.14.2-1]. Who says goodbye in the wrong words is gone all the same: there is nobody to answer.
    private static func decodeReasonCode(_ reader: inout ByteReader) throws(DecodeError) -> ReasonCode {
        do throws(DecodeError) {
            return try reader.requireReasonCode(for: .disconnect)
        } catch {
            throw DecodeError(error.reasonCode, error.explanation, closesSilently: true)
        }
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.disconnect.rawValue << 4)
        let start = buffer.beginLength()
        let hasProperties = self.properties != Properties()
        if version.hasProperties, hasProperties || self.reasonCode != .success {
            buffer.write(self.reasonCode.rawValue)
            if hasProperties { self.properties.encode(into: &buffer) }
        }
        buffer.endLength(start)
    }
}
