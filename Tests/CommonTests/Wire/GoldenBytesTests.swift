import Common
import Testing

/// The layout of each frame, byte by byte, for wire version 4: whoever changes one must raise `LinkHello.wireVersionMax`, so that
/// a listener of one release and a router of the next do not misread each other.
@Suite struct GoldenBytesTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test("The bytes below belong to this wire version")
    func version() {
        #expect(LinkHello.wireVersionMax == 4, "write the golden bytes of the new version, keep those of the last one")
    }

    @Test("Kinds keep their numbers")
    func kinds() {
        let numbers = FrameKind.allCases.map { "\($0)=\(self.hexadecimal([$0.rawValue]))" }.sorted()
        #expect(
            numbers == [
                "authAdmitted=52", "authChanged=71", "authConsulted=72", "authPing=51", "authPong=73", "authQuery=50",
                "authVerdict=70",
                "controlCommand=91",
                "controlReply=b1", "deliveryCredit=15", "exchangesSettled=3a", "linkClosing=37", "linkDrained=17",
                "linkHello=01",
                "publishCredit=35",
                "sessionAccepted=30", "sessionAttach=16", "sessionClose=34", "sessionClosed=12", "sessionDeliver=32",
                "sessionGone=36",
                "sessionMulticast=33",
                "sessionOpen=10", "sessionPackets=11", "sessionRefused=31", "sessionResumed=38", "sessionRules=13",
                "sessionUnstored=39",
                "statusReport=b0",
                "statusRequest=90",
            ]
        )
    }

    /// `WireSamples.attach` up to what only some have.
    private static let attachBody =
        "02010000000000000100000061080706050403020107000000646576696365730f0000003139322e302e322e"
        + "373a34303131320108000000333436613030346413000000434e3d33343661303034642c4f3d466c6565740b"
        + "000000434e3d466c656574204341040000003041314220000000000102030405060708090a0b0c0d0e0f1011"
        + "12131415161718191a1b1c1d1e1f02000109000000612e6578616d706c6502090000003139322e302e322e37"
        + "00b33f7100000000040000007573657200000200010300070012000000646576696365732f33343661303034"
        + "642f23000201050103000000612f2b04000000100c0004030000000400000002000000010001030204010000"
        + "0007000100000074"

    @Test("Each frame's bytes", arguments: Self.frames.map(\.name))
    func bytes(name: String) throws {
        let frame = try #require(Self.frames.first { $0.name == name })
        #expect(self.hexadecimal(WireSamples.bytes(frame.write)) == frame.bytes)
    }

    private static let frames: [(name: String, bytes: String, write: @Sendable (inout ByteBuffer) -> Void)] = [
        (
            "linkHello",
            "2e000000010000000000000000000000"
                + "4d52544c01030401404142434445464748494a4b4c4d4e4f00000400000000040a0000006c697374656e6572"
                + "2d31", { WireSamples.hello.encode(into: &$0) }
        ),
        (
            "sessionOpen",
            "e6000000100000000807060504030201"
                + "080706050403020107000000646576696365730f0000003139322e302e322e373a3430313132010800000033"
                + "3436613030346413000000434e3d33343661303034642c4f3d466c6565740b000000434e3d466c6565742043"
                + "41040000003041314220000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
                + "1f02000109000000612e6578616d706c6502090000003139322e302e322e3700b33f71000000000400000075"
                + "73657200000200010300070012000000646576696365732f33343661303034642f2300020105010300000061"
                + "2f2b04000000100c0004", { WireSamples.open.encode(into: &$0, handle: 0x0102_0304_0506_0708) }
        ),
        (
            "sessionResumed", "04000000380000000400000000000000" + "01000302",
            { SessionResumed(awaitingPubrel: [1, 0x0203]).encode(into: &$0, handle: 4) }
        ),
        (
            "sessionUnstored", "01000000390000000400000000000000" + "01",
            { SessionUnstored.encode(true, into: &$0, handle: 4) }
        ),
        (
            "authChanged", "11000000710000000000000000000000" + "0108070605040302011000000000000000",
            { AuthChanged(all: true, keyHashes: [0x0102_0304_0506_0708, 16]).encode(into: &$0) }
        ),
        (
            "authConsulted", "10000000720000000900000000000000" + "08070605040302011000000000000000",
            { AuthConsulted(keyHashes: [0x0102_0304_0506_0708, 16]).encode(into: &$0, request: 9) }
        ),
        (
            "authAdmitted", "08000000520000000900000000000000" + "0807060504030201",
            { AuthAdmitted(keyHash: 0x0102_0304_0506_0708).encode(into: &$0, request: 9) }
        ),
        (
            "sessionRules", "04000000130000000700000000000000" + "01010000",
            { SessionRules.encode(.allowEverything, into: &$0, handle: 7) }
        ),
        (
            "authQuery",
            "cb000000500000000200000000000000"
                + "07000000646576696365730700000064656661756c740f0000005b323030313a6462383a3a315d3a39050108"
                + "000000333436613030346413000000434e3d33343661303034642c4f3d466c6565740b000000434e3d466c65"
                + "6574204341040000003041314220000000000102030405060708090a0b0c0d0e0f101112131415161718191a"
                + "1b1c1d1e1f02000109000000612e6578616d706c6502090000003139322e302e322e3700b33f710000000006"
                + "000000636c69656e74ffffffff060000007075626c6963ffffffff",
            { WireSamples.query.encode(into: &$0, request: 2) }
        ),
        (
            "authVerdict",
            "47000000700000000300000000000000"
                + "0100030600000064657461696c00000200010300070012000000646576696365732f33343661303034642f23"
                + "000201050103000000612f2b030000000908078877665544332211",
            { WireSamples.verdict.encode(into: &$0, request: 3) }
        ),
        (
            "sessionAccepted",
            "13000000300000000400000000000000" + "0807060504030201" + "0201" + "01000000" + "61" + "20020000",
            { WireSamples.accepted(into: &$0) }
        ),
        (
            "sessionAttach",
            "10010000160000000900000000000000" + Self.attachBody,
            { WireSamples.attach.encode(into: &$0, handle: 9) }
        ),
        // Since version 3.
        (
            "sessionAttach inside a packet",
            "1a010000160000000900000000000000" + Self.attachBody + "03000100020000000100",
            {
                var attach = WireSamples.attach
                attach.partial = .init(packetIdentifier: 3, packetBytes: 0x0002_0001, passedBytes: 0x0001_0000)
                attach.encode(into: &$0, handle: 9)
            }
        ),
        (
            "sessionAttach inside a QoS 0 packet",
            "1a010000168000000900000000000000" + Self.attachBody + "ffff" + "0100020000000100",
            {
                var attach = WireSamples.attach
                attach.partial = .init(packetIdentifier: 0, packetBytes: 0x0002_0001, passedBytes: 0x0001_0000)
                attach.encode(into: &$0, handle: 9)
            }
        ),
        // Since version 4.
        (
            "sessionAttach with exchanges",
            "25010000160800000900000000000000" + Self.attachBody + "0900000000000000" + "01" + "01000000"
                + "0807060504030201",
            {
                var attach = WireSamples.attach
                attach.exchanges = .init(publishCount: 9, keeps: true, delivered: [0x0102_0304_0506_0708])
                attach.encode(into: &$0, handle: 9)
            }
        ),
        (
            "sessionAccepted that keeps exchanges",
            "13000000302000000400000000000000" + "0807060504030201" + "0201" + "01000000" + "61" + "20020000",
            { WireSamples.accepted(into: &$0, keepsExchanges: true) }
        ),
        (
            "sessionRefused", "050000003100000005000000000000008720020005",
            { buffer in
                let connack: [UInt8] = [0x20, 2, 0, 5]
                connack.withUnsafeBytes {
                    SessionEnd.encode(.sessionRefused, into: &buffer, handle: 5, reason: .notAuthorized, packet: $0)
                }
            }
        ),
        (
            "sessionClose", "040000003400000006000000000000008ee0018e",
            { buffer in
                let disconnect: [UInt8] = [0xE0, 1, 0x8E]
                disconnect.withUnsafeBytes {
                    SessionEnd.encode(.sessionClose, into: &buffer, handle: 6, reason: .sessionTakenOver, packet: $0)
                }
            }
        ),
        (
            "deliveryCredit",
            "10000000150000000000000000000000"
                + "04030201070000000000000008070605",
            { CreditFrame.encode(.deliveryCredit, into: &$0, linkBytes: 0x0102_0304, sessions: [(7, 0x0506_0708)]) }
        ),
        (
            "sessionDeliver", "020000003203000008000000000000003005",
            { buffer in
                let flags = FrameFlags.debitsCredit | FrameFlags.packetContinues
                buffer.writeFrameHeader(.sessionDeliver, flags: flags, handle: 8, bodyBytes: 2)
                buffer.write([0x30, 0x05])
            }
        ),
        (
            "statusReport",
            "0f000000b00000000000000000000000"
                + "636f6e6e656374696f6e732031320a",
            { buffer in
                var report = StatusReport()
                report.add("connections", 12)
                report.encode(into: &buffer)
            }
        ),
        (
            "controlCommand",
            "13000000910000000000000000000000" + "040000006175746807000000636f6e6669726d",
            { ControlCommand(["auth", "confirm"]).encode(into: &$0) }
        ),
        (
            "controlReply",
            "07000000b10000000000000000000000" + "01020000006f6b",
            { ControlReply(isDone: true, text: "ok").encode(into: &$0) }
        ),
    ]
}
