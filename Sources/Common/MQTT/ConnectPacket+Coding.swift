extension ConnectPacket {
    /// The bits of the connect flags byte (section 3.1.2.3).
    private enum Flags {
        static var reserved: UInt8 { 0x01 }
        static var cleanStart: UInt8 { 0x02 }
        static var will: UInt8 { 0x04 }
        static var willQoS: UInt8 { 0x18 }
        static var willRetain: UInt8 { 0x20 }
        static var password: UInt8 { 0x40 }
        static var userName: UInt8 { 0x80 }
    }

    /// Reads a CONNECT of any version.
    ///
    /// - Throws: `protocolError` for another protocol's name, `unsupportedProtocolVersion` for a level that is none of
    ///   3 (`MQIsdp`), 4 and 5 (`MQTT`), `clientIdentifierNotValid` where the version wants an identifier and there is none.
    public static func decode(
        _ packet: UnsafeRawBufferPointer,
        header: FixedHeader
    ) throws(DecodeError) -> ConnectPacket {
        var reader = try ByteReader(packet, after: header, of: .connect)
        var result = try Self.decodeProtocol(&reader)
        let version = result.version
        let flags = try reader.requireUInt8()
        try Self.checkFlags(flags, version)
        result.cleanStart = flags & Flags.cleanStart != 0
        result.keepAliveSeconds = try reader.requireUInt16()
        if version.hasProperties {
            result.properties = try reader.requireProperties(of: packet, allowed: .connect)
            // Section 3.1.2.11.10.
            if result.properties.authenticationData != nil, result.properties.authenticationMethod == nil {
                throw .protocolError("authentication data without authentication method")
            }
        }
        result.clientIdentifier = try Self.decodeClientIdentifier(&reader, version)
        if flags & Flags.will != 0 {
            result.will = try Self.decodeWill(&reader, packet, flags, version)
        }
        // In 3.1 the remaining length is stronger than these two flags: the fields may be missing.
        let mayBeMissing = version == .v3_1
        do throws(DecodeError) {
            if flags & Flags.userName != 0, !(mayBeMissing && reader.isAtEnd) {
                result.userName = [UInt8](try reader.requireText())
            }
            if flags & Flags.password != 0, !(mayBeMissing && reader.isAtEnd) {
                result.password = [UInt8](try reader.requireBinary())
            }
        } catch {
            // [MQTT-3.1.2-17], [MQTT-3.1.2-19], [MQTT-3.1.3-12]
            throw DecodeError(error.reasonCode, error.explanation, closesSilently: true)
        }
        try reader.requireEnd()
        try result.checkClientIdentifier()
        return result
    }

    private static func decodeProtocol(_ reader: inout ByteReader) throws(DecodeError) -> ConnectPacket {
        let name = try reader.requireBinary()
        let isMQTT = Self.equal(name, "MQTT")
        // [MQTT-3.1.2-1]
        guard isMQTT || Self.equal(name, "MQIsdp") else {
            throw DecodeError(.protocolError, "protocol name is not MQTT", closesSilently: true)
        }
        let level = try reader.requireUInt8()
        // [MQTT-3.1.2-2]
        switch (isMQTT, level) {
        case (false, 3), (false, 0x83): return ConnectPacket(version: .v3_1, isBridge: level >= 0x80)
        case (true, 4), (true, 0x84): return ConnectPacket(version: .v3_1_1, isBridge: level >= 0x80)
        case (true, 5): return ConnectPacket(version: .v5_0)
        default: throw DecodeError(.unsupportedProtocolVersion, "protocol level is not 3, 4 or 5")
        }
    }

    private static func checkFlags(_ flags: UInt8, _ version: ProtocolVersion) throws(DecodeError) {
        // [MQTT-3.1.2-12]
        guard flags & Flags.willQoS != Flags.willQoS else { throw .malformed("will with QoS 3") }
        switch version {
        case .v3_1:
            // Bits without a meaning are "not used" there rather than reserved.
            break
        case .v3_1_1:
            // [MQTT-3.1.2-22] of 3.1.1; MQTT 5.0 allows it.
            if flags & Flags.userName == 0, flags & Flags.password != 0 {
                throw .malformed("password without user name")
            }
            fallthrough
        case .v5_0:
            // [MQTT-3.1.2-3]
            guard flags & Flags.reserved == 0 else { throw .malformed("reserved connect flag is set") }
            // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
            if flags & Flags.will == 0, flags & (Flags.willQoS | Flags.willRetain) != 0 {
                throw .malformed("will QoS or will retain without a will")
            }
        }
    }

    /// [MQTT-3.1.3-3], [MQTT-3.1.3-4]. Only MQTT 5.0 has an answer for one that is no text.
    private static func decodeClientIdentifier(
        _ reader: inout ByteReader,
        _ version: ProtocolVersion
    ) throws(DecodeError) -> [UInt8] {
        let bytes = try reader.requireBinary()
        guard MQTTText.isValid(bytes) else {
            let code = version.hasProperties ? ReasonCode.clientIdentifierNotValid : .malformedPacket
            throw DecodeError(code, "client identifier is not UTF-8, or has control characters in it")
        }
        return [UInt8](bytes)
    }

    private static func decodeWill(
        _ reader: inout ByteReader,
        _ packet: UnsafeRawBufferPointer,
        _ flags: UInt8,
        _ version: ProtocolVersion
    ) throws(DecodeError) -> Will {
        guard let qos = QoS(rawValue: (flags & Flags.willQoS) >> 3) else { throw .malformed("will with QoS 3") }
        var properties = Properties()
        if version.hasProperties { properties = try reader.requireProperties(of: packet, allowed: .will) }
        // [MQTT-3.1.3-11]
        let topic = try reader.requireText()
        // [MQTT-3.3.2-2], [MQTT-4.7.3-1]: it will be published.
        guard TopicName.isValid(topic) else {
            throw DecodeError(.topicNameInvalid, "will topic is empty or has wildcards")
        }
        let payload = try reader.requireBinary()
        return Will(
            qos: qos,
            retain: flags & Flags.willRetain != 0,
            topic: [UInt8](topic),
            payload: [UInt8](payload),
            properties: properties
        )
    }

    private func checkClientIdentifier() throws(DecodeError) {
        guard self.clientIdentifier.isEmpty else { return }
        switch self.version {
        case .v3_1:
            // Section 3.1 of 3.1 wants 1 to 23 characters; the upper bound nobody keeps.
            throw DecodeError(.clientIdentifierNotValid, "MQTT 3.1 wants a client identifier")
        case .v3_1_1:
            // [MQTT-3.1.3-8] of 3.1.1.
            if !self.cleanStart {
                throw DecodeError(.clientIdentifierNotValid, "clean session 0 wants a client identifier")
            }
        case .v5_0:
            // [MQTT-3.1.3-6]: the server assigns one.
            break
        }
    }

    private static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where bytes[index] != text.utf8Start[index] { return false }
        return true
    }

    /// Appends the packet in its own version.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.write(PacketType.connect.rawValue << 4)
        let start = buffer.beginLength()
        buffer.writeMQTTString(self.version == .v3_1 ? Array("MQIsdp".utf8) : Array("MQTT".utf8))
        buffer.write(self.version.rawValue | (self.isBridge ? 0x80 : 0))
        buffer.write(self.flags)
        buffer.writeBigEndian(self.keepAliveSeconds)
        if self.version.hasProperties { self.properties.encode(into: &buffer) }
        buffer.writeMQTTString(self.clientIdentifier)
        if let will = self.will {
            if self.version.hasProperties { will.properties.encode(into: &buffer) }
            buffer.writeMQTTString(will.topic)
            buffer.writeMQTTString(will.payload)
        }
        if let userName = self.userName { buffer.writeMQTTString(userName) }
        if let password = self.password { buffer.writeMQTTString(password) }
        buffer.endLength(start)
    }

    private var flags: UInt8 {
        var flags: UInt8 = 0
        if self.cleanStart { flags |= Flags.cleanStart }
        if let will = self.will {
            flags |= Flags.will | will.qos.rawValue << 3
            if will.retain { flags |= Flags.willRetain }
        }
        if self.password != nil { flags |= Flags.password }
        if self.userName != nil { flags |= Flags.userName }
        return flags
    }
}
