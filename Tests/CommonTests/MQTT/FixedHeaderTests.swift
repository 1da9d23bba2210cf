import Common
import Testing

@Suite struct FixedHeaderTests {
    private func decode(_ bytes: [UInt8], _ version: ProtocolVersion = .v5_0) -> FixedHeader.Result {
        bytes.withUnsafeBytes { FixedHeader.decode($0, version: version) }
    }

    private func isMalformed(_ bytes: [UInt8], _ version: ProtocolVersion = .v5_0) -> Bool {
        if case .malformed = self.decode(bytes, version) { return true }
        return false
    }

    @Test("Remaining lengths at the edges of table 2-4")
    func lengths() {
        let table: [([UInt8], Int)] = [
            ([0x00], 0), ([0x7F], 127), ([0x80, 0x01], 128), ([0xFF, 0x7F], 16_383), ([0x80, 0x80, 0x01], 16_384),
            ([0xFF, 0xFF, 0x7F], 2_097_151), ([0x80, 0x80, 0x80, 0x01], 2_097_152),
            ([0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
        ]
        for (encoded, value) in table {
            let expected = FixedHeader(type: .connect, flags: 0, headerBytes: 1 + encoded.count, bodyBytes: value)
            #expect(self.decode([0x10] + encoded + [0xFF]) == .header(expected))
            for count in 0..<encoded.count {
                #expect(self.decode([0x10] + encoded.prefix(count)) == .needMore)
            }
            var buffer = ByteBuffer()
            buffer.writeVariableByteInteger(value)
            let written = buffer.array
            #expect(written == encoded)
            #expect(ByteBuffer.variableByteIntegerLength(value) == encoded.count)
        }
        #expect(self.decode([]) == .needMore)
    }

    @Test("Lengths of five bytes, and longer than needed, are malformed ([MQTT-1.5.5-1])")
    func overlong() {
        #expect(self.isMalformed([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]))
        #expect(self.isMalformed([0x10, 0x80, 0x80, 0x80, 0x80]))
        #expect(self.isMalformed([0x10, 0x80, 0x00]))
        #expect(self.isMalformed([0x10, 0xFF, 0x80, 0x00]))
    }

    @Test("Flags other than table 2-2 are malformed at the first byte ([MQTT-2.1.3-1])")
    func flags() {
        for flags in 0..<16 as Range<UInt8> {
            #expect(self.isMalformed([flags]))
            for type in PacketType.allCases {
                let isAllowed = type == .publish ? flags & 6 != 6 : flags == type.requiredFlags
                #expect(self.isMalformed([type.rawValue << 4 | flags]) == !isAllowed, "\(type) \(flags)")
            }
        }
    }

    @Test("What may not come at all is a protocol error, whatever its flags; what is no MQTT is not answered")
    func codes() {
        #expect(self.decode([0x0A, 0xC0]) == .malformed(.protocolError("")))
        for type in [PacketType.connack, .suback, .unsuback, .pingresp, .auth] {
            #expect(self.decode([type.rawValue << 4 | 1, 0]) == .malformed(.protocolError("")), "\(type)")
        }
        #expect(self.decode([0x83, 0]) == .malformed(.malformed("")))
        guard case .malformed(let error) = self.decode([0x30, 0x80, 0x80, 0x80, 0x80, 0x01]) else {
            return #expect(Bool(false), "a length of five bytes was taken")
        }
        #expect(error.closesSilently)
    }

    @Test("MQTT 3.1 sends PUBREL, SUBSCRIBE and UNSUBSCRIBE again with DUP")
    func resentIn31() {
        for type in [PacketType.pubrel, .subscribe, .unsubscribe] {
            #expect(self.decode([type.rawValue << 4 | 0b1010], .v3_1) == .needMore)
            #expect(self.isMalformed([type.rawValue << 4 | 0b1010], .v3_1_1))
            #expect(self.isMalformed([type.rawValue << 4 | 0b1000], .v3_1))
        }
        #expect(self.isMalformed([0x18], .v3_1))
    }

    @Test("Acknowledgements without properties")
    func acknowledgements() {
        func encoded(_ type: PacketType, _ code: ReasonCode, _ version: ProtocolVersion) -> [UInt8] {
            var buffer = ByteBuffer()
            buffer.writeAcknowledgement(type: type, packetIdentifier: 0x1234, reasonCode: code, version: version)
            return buffer.array
        }
        #expect(encoded(.puback, .success, .v5_0) == [0x40, 2, 0x12, 0x34])
        #expect(encoded(.pubrel, .packetIdentifierNotFound, .v5_0) == [0x62, 3, 0x12, 0x34, 0x92])
        #expect(encoded(.pubrec, .quotaExceeded, .v3_1_1) == [0x50, 2, 0x12, 0x34])
    }
}
