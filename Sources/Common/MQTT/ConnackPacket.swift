/// Section 3.2. `returnCode` is the byte on the wire: a reason code in 5.0, a return code of table 3.1 in 3.1 and 3.1.1.
public struct ConnackPacket: Equatable, Sendable {
    public var sessionPresent: Bool
    public var returnCode: UInt8
    public var properties: Properties

    public init(sessionPresent: Bool, returnCode: UInt8, properties: Properties = Properties()) {
        self.sessionPresent = sessionPresent
        self.returnCode = returnCode
        self.properties = properties
    }
}

extension ConnackPacket {
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodeError) -> ConnackPacket {
        var reader = try ByteReader(packet, after: header, of: .connack)
        let flags = try reader.requireUInt8()
        // [MQTT-3.2.2-1]; 3.1 has a byte here that says nothing.
        guard flags <= 1 || version == .v3_1 else { throw .malformed("reserved flags of CONNACK are set") }
        let returnCode = try reader.requireUInt8()
        guard Self.isReturnCode(returnCode, version) else { throw .protocolError("unknown return code in CONNACK") }
        let sessionPresent = version != .v3_1 && flags == 1
        // [MQTT-3.2.2-6]
        if sessionPresent, returnCode != 0 { throw .protocolError("CONNACK refuses and says session present") }
        var result = ConnackPacket(sessionPresent: sessionPresent, returnCode: returnCode)
        if version.hasProperties { result.properties = try reader.requireProperties(of: packet, allowed: .connack) }
        try reader.requireEnd()
        return result
    }

    public func encode(into buffer: inout ByteBuffer, version: ProtocolVersion) {
        buffer.write(PacketType.connack.rawValue << 4)
        let start = buffer.beginLength()
        buffer.write(self.sessionPresent && version != .v3_1 ? 1 as UInt8 : 0)
        buffer.write(self.returnCode)
        if version.hasProperties { self.properties.encode(into: &buffer) }
        buffer.endLength(start)
    }

    private static func isReturnCode(_ byte: UInt8, _ version: ProtocolVersion) -> Bool {
        guard version.hasProperties else { return ReasonCode(version3ConnackReturnCode: byte) != nil }
        return ReasonCode(rawValue: byte)?.isAllowed(in: .connack) ?? false
    }
}
