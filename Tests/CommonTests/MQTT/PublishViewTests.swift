import Common
import Testing

@Suite struct PublishViewTests {
    private func decode(_ bytes: [UInt8], _ version: ProtocolVersion = .v5_0) throws -> PublishView {
        try bytes.withUnsafeBytes { bytes in
            guard case .header(let header) = FixedHeader.decode(bytes) else {
                throw DecodeError(.malformedPacket, "header")
            }
            return try PublishView.decode(bytes, header: header, version: version)
        }
    }

    /// A PUBLISH to topic `a/b` with packet identifier 7 unless QoS 0, and these properties.
    private func publish(_ flags: UInt8, _ properties: [UInt8], payload: [UInt8] = [], topic: String = "a/b") -> [UInt8]
    {
        var buffer = ByteBuffer()
        buffer.write(0x30 | flags)
        let start = buffer.beginLength()
        buffer.writeMQTTString(Array(topic.utf8))
        if flags & 6 != 0 { buffer.writeBigEndian(7 as UInt16) }
        buffer.writeVariableByteInteger(properties.count)
        buffer.write(properties)
        buffer.write(payload)
        buffer.endLength(start)
        return buffer.array
    }

    private func code(_ bytes: [UInt8], _ version: ProtocolVersion = .v5_0) -> ReasonCode? {
        do {
            _ = try self.decode(bytes, version)
            return nil
        } catch {
            return (error as? DecodeError)?.reasonCode
        }
    }

    @Test("Fields lie where the view says")
    func fields() throws {
        let packet = self.publish(0b1011, [0x02, 0, 0, 1, 0, 0x23, 0, 9], payload: [1, 2, 3])
        let view = try self.decode(packet)
        #expect(view.dup && view.retain && view.qos == .atLeastOnce)
        #expect(Array(packet[view.topic]) == Array("a/b".utf8))
        #expect(view.packetIdentifier == 7)
        #expect(view.topicAlias == 9)
        #expect(view.messageExpiryInterval == 256)
        #expect(Array(packet[view.payload]) == [1, 2, 3])
        let old: [UInt8] = [0x30, 4, 0, 1, 0x61, 0xFF]
        let oldView = try self.decode(old, .v3_1_1)
        #expect(oldView.properties.isEmpty && Array(old[oldView.payload]) == [0xFF])
    }

    @Test("What is passed on keeps bytes and order ([MQTT-3.3.2-4], -15, -16, -17, -20)")
    func forwarded() throws {
        let user: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76]
        let kept = user + [0x01, 0] + [0x09, 0, 1, 0] + user + [0x03, 0, 1, 0x74] + [0x08, 0, 1, 0x72]
        let dropped: [UInt8] = [0x02, 0, 0, 0, 5, 0x23, 0, 1]
        for split in [0, user.count, kept.count] {
            let packet = self.publish(0, Array(kept[..<split]) + dropped + Array(kept[split...]))
            let view = try self.decode(packet)
            let result = packet.withUnsafeBytes { view.forwardedProperties(of: $0) }
            #expect(result == kept)
        }
        let plain = self.publish(0, [])
        let view = try self.decode(plain)
        #expect(plain.withUnsafeBytes { view.forwardedProperties(of: $0) }.isEmpty)
    }

    @Test("Each rule of section 3.3 has its reason code")
    func refused() {
        #expect(self.code(self.publish(0b1000, [])) == .malformedPacket, "[MQTT-3.3.1-2] DUP with QoS 0")
        #expect(self.code(self.publish(0b0110, [])) == .malformedPacket, "[MQTT-3.3.1-4] QoS 3")
        #expect(self.code([0x32, 6, 0, 1, 0x61, 0, 0, 0]) == .protocolError, "[MQTT-2.2.1-3] packet identifier 0")
        #expect(self.code(self.publish(0, [], topic: "a/#")) == .malformedPacket, "[MQTT-3.3.2-2]")
        #expect(self.code(self.publish(0, [], topic: "+")) == .malformedPacket, "[MQTT-3.3.2-2]")
        #expect(self.code(self.publish(0, [], topic: "a\0")) == .malformedPacket, "[MQTT-4.7.3-2]")
        #expect(self.code([0x30, 4, 0, 1, 0xFF, 0]) == .malformedPacket, "[MQTT-3.3.2-1]")
        #expect(self.code(self.publish(0, [], topic: "")) == .malformedPacket, "[MQTT-4.7.3-1]")
        #expect(self.code([0x30, 2, 0, 0], .v3_1_1) == .malformedPacket, "[MQTT-4.7.3-1]")
        #expect(self.code(self.publish(0, [0x23, 0, 1], topic: "")) == nil, "alias for a topic")
        #expect(self.code(self.publish(0, [0x23, 0, 0])) == .topicAliasInvalid, "[MQTT-3.3.2-8]")
        #expect(self.code(self.publish(0, [0x23, 0, 1, 0x23, 0, 1])) == .protocolError, "section 3.3.2.3.4")
        #expect(self.code(self.publish(0, [0x0B, 1])) == .protocolError, "[MQTT-3.3.4-6]")
        #expect(self.code(self.publish(0, [0x01, 2])) == .protocolError, "payload format 2")
        #expect(self.code(self.publish(0, [0x08, 0, 1, 0x23])) == .protocolError, "[MQTT-3.3.2-14]")
        #expect(self.code(self.publish(0, [0x03, 0, 1, 0xFF])) == .malformedPacket, "[MQTT-3.3.2-19]")
        #expect(self.code(self.publish(0, [0x11, 0, 0, 0, 1])) == .protocolError, "property of CONNECT")
        #expect(self.code(self.publish(0, [0x7F])) == .malformedPacket, "unknown property")
        #expect(self.code(self.publish(0, [0x02, 0])) == .malformedPacket, "property cut short")
        #expect(self.code([0x30, 4, 0, 1, 0x61, 5]) == .malformedPacket, "properties beyond the packet")
    }

    @Test("A header of another length is refused, not read beyond")
    func wrongHeader() {
        let packet = self.publish(0, [])
        packet.withUnsafeBytes { bytes in
            let header = FixedHeader(type: .publish, flags: 0, headerBytes: 2, bodyBytes: 400)
            #expect(throws: DecodeError.self) { try PublishView.decode(bytes, header: header, version: .v5_0) }
        }
    }
}
