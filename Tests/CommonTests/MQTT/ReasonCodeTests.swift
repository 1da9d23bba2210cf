import Common
import Testing

@Suite struct ReasonCodeTests {
    @Test("CONNACK return codes of 3.1 and 3.1.1, table 3.1")
    func connack() {
        for version in [ProtocolVersion.v3_1, .v3_1_1] {
            #expect(ReasonCode.success.connackReturnCode(for: version) == 0)
            #expect(ReasonCode.unsupportedProtocolVersion.connackReturnCode(for: version) == 1)
            #expect(ReasonCode.clientIdentifierNotValid.connackReturnCode(for: version) == 2)
            #expect(ReasonCode.serverUnavailable.connackReturnCode(for: version) == 3)
            #expect(ReasonCode.badUserNameOrPassword.connackReturnCode(for: version) == 4)
            #expect(ReasonCode.notAuthorized.connackReturnCode(for: version) == 5)
            #expect(ReasonCode.malformedPacket.connackReturnCode(for: version) == nil, "[MQTT-3.2.2-6] of 3.1.1")
        }
        for byte in 0...5 as ClosedRange<UInt8> {
            #expect(ReasonCode(version3ConnackReturnCode: byte)?.connackReturnCode(for: .v3_1_1) == byte)
        }
        #expect(ReasonCode(version3ConnackReturnCode: 6) == nil)
        #expect(ReasonCode.banned.connackReturnCode(for: .v5_0) == 0x8A)
    }

    @Test("SUBACK: grants stay, every failure is 0x80 before 5.0")
    func suback() {
        for qos in QoS.allCases {
            #expect(ReasonCode(granted: qos).subackReturnCode(for: .v3_1_1) == qos.rawValue)
            #expect(ReasonCode(granted: qos).subackReturnCode(for: .v5_0) == qos.rawValue)
        }
        #expect(ReasonCode.notAuthorized.subackReturnCode(for: .v3_1) == 0x80)
        #expect(ReasonCode.notAuthorized.subackReturnCode(for: .v5_0) == 0x87)
    }

    @Test("Every code has a name of its own")
    func names() {
        let names = ReasonCode.allCases.map(\.description)
        #expect(Set(names).count == names.count)
        #expect("\(ReasonCode.sessionTakenOver)" == "session taken over")
    }
}
