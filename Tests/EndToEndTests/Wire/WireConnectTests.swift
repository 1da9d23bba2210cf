import Common
import TestSupport
import Testing

/// CONNECT, and what comes instead of it (MQTT 3.1.1 and 5.0, sections 3.1 and 3.2).
@Suite struct WireConnectTests {
    private static func accepted(_ name: String, _ version: ProtocolVersion, _ bytes: [UInt8]) -> WireCase {
        WireCase(name: name, version: version, connects: false, steps: [.send(bytes), .receiveConnack(0)], end: .open)
    }

    /// Closed; 5.0 gets a CONNACK with the code, where there is one.
    private static func refused(
        _ name: String,
        _ version: ProtocolVersion,
        _ bytes: [UInt8],
        _ code: UInt8? = 0x81
    ) -> WireCase {
        let answer: [UInt8] = code.map { version == .v5_0 ? [0x20, 3, 0, $0, 0] : [] } ?? []
        return .refused(name, version, bytes, answer, connects: false)
    }

    @Test func connectsInOrderAreAccepted() throws {
        let runner = try WireRunner(try TestBroker())
        var cases: [WireCase] = []
        for version in ProtocolVersion.allCases {
            let will = properties(version) + field("will") + field("gone")
            cases += [
                Self.accepted("minimal", version, connect(version)),
                Self.accepted("will", version, connect(version, flags: 6, payload: field("p") + will)),
                Self.accepted(
                    "will QoS 2, retained",
                    version,
                    connect(version, flags: 0x36, payload: field("p") + will)
                ),
                Self.accepted("user name", version, connect(version, flags: 0x82, payload: field("p") + field("u"))),
                Self.accepted(
                    "empty user name",
                    version,
                    connect(version, flags: 0x82, payload: field("p") + field(""))
                ),
                Self.accepted(
                    "user name and a password of any bytes",
                    version,
                    connect(version, flags: 0xC2, payload: field("p") + field("u") + field([0, 0xFF, 1]))
                ),
                Self.accepted(
                    "[MQTT-3.1.3-5] 23 letters and digits",
                    version,
                    connect(version, payload: field("0123456789abcdefghijABC"))
                ),
            ]
        }
        cases += [
            Self.accepted("3.1: reserved flag", .v3_1, connect(.v3_1, flags: 3)),
            Self.accepted("3.1: QoS bits in the first byte", .v3_1, [0x14] + connect(.v3_1).dropFirst()),
            Self.accepted("3.1 bridge", .v3_1, connect(.v3_1, level: 0x83)),
            Self.accepted("3.1.1 bridge", .v3_1_1, connect(.v3_1_1, level: 0x84)),
            Self.accepted("[MQTT-3.1.3-6] no client identifier", .v3_1_1, connect(.v3_1_1, payload: field(""))),
            Self.accepted("[MQTT-3.1.3-6] no client identifier", .v5_0, connect(.v5_0, flags: 0, payload: field(""))),
            Self.accepted("password alone", .v5_0, connect(.v5_0, flags: 0x42, payload: field("p") + field("x"))),
        ]
        runner.run(cases)
    }

    /// Flags that contradict the payload, and fields that are missing.
    private static func contradictions(_ version: ProtocolVersion) -> [WireCase] {
        let id = field("p")
        let will = properties(version) + field("will") + field("gone")
        let withoutPayload = connect(version, flags: 6, payload: id + properties(version) + field("w"))
        let password = id + field("u") + field("p")
        return [
            Self.refused("[MQTT-3.1.2-3] reserved flag", version, connect(version, flags: 3)),
            Self.refused("[MQTT-3.1.2-11] will QoS without will", version, connect(version, flags: 0x0A)),
            Self.refused("[MQTT-3.1.2-13] will retain without will", version, connect(version, flags: 0x22)),
            Self.refused("[MQTT-3.1.2-9] will missing", version, connect(version, flags: 6)),
            Self.refused("[MQTT-3.1.2-9] will payload missing", version, withoutPayload),
            Self.refused("[MQTT-3.1.2-12] will QoS 3", version, connect(version, flags: 0x1E, payload: id + will)),
            Self.refused("[MQTT-3.1.2-16] bytes left over", version, connect(version, payload: id + field("u"))),
            Self.refused(
                "[MQTT-3.1.2-18] password unflagged",
                version,
                connect(version, flags: 0x82, payload: password)
            ),
            Self.refused("[MQTT-3.1.2-17] user name missing", version, connect(version, flags: 0x82), nil),
            Self.refused(
                "[MQTT-3.1.2-19] password missing",
                version,
                connect(version, flags: 0xC2, payload: id + field("u")),
                nil
            ),
            Self.refused("[MQTT-3.1.3-3] client identifier missing", version, connect(version, payload: [])),
        ]
    }

    private static func textCases(_ version: ProtocolVersion, _ name: String, _ bytes: [UInt8]) -> [WireCase] {
        let id = field("p")
        let will = id + properties(version) + field(bytes) + field("x")
        return [
            Self.refused("client id, \(name)", version, connect(version, payload: field(bytes)), 0x85),
            Self.refused("will topic, \(name)", version, connect(version, flags: 6, payload: will)),
            Self.refused("user name, \(name)", version, connect(version, flags: 0x82, payload: id + field(bytes)), nil),
        ]
    }

    @Test func brokenConnectsAreRefused() throws {
        let runner = try WireRunner(try TestBroker())
        for version in [ProtocolVersion.v3_1_1, .v5_0] {
            var cases = Self.contradictions(version)
            for (name, bytes) in badTexts { cases += Self.textCases(version, name, bytes) }
            for flags in 1...15 as ClosedRange<UInt8> {
                let bytes = [0x10 | flags] + connect(version).dropFirst()
                cases.append(Self.refused("[MQTT-2.1.3-1] first byte \(flags)", version, Array(bytes), nil))
            }
            for name in ["MQT", "", "MQTTT", "MQTU", "mqtt", "MQIsdpx"] {
                cases.append(Self.refused("[MQTT-3.1.2-1] \(name)", version, connect(version, name: name), nil))
            }
            runner.run(cases)
        }
        let unsupported: [UInt8] = [0x20, 3, 0, 0x84, 0]
        for (version, level) in [(.v3_1, 2), (.v3_1, 6), (.v3_1_1, 2), (.v3_1_1, 6), (.v5_0, 99)]
            as [(ProtocolVersion, UInt8)]
        {
            let bytes = connect(version, level: level)
            runner.run([.refused("[MQTT-3.1.2-2] level \(level)", version, bytes, unsupported, connects: false)])
        }
        let empty = connect(.v3_1_1, flags: 0, payload: field(""))
        let password = connect(.v3_1_1, flags: 0x42, payload: field("p") + field("x"))
        let tiny = connect(.v5_0, properties: [0x27, 0, 0, 0, 2])
        runner.run([
            .refused("3.1, no client id", .v3_1, connect(.v3_1, payload: field("")), [0x20, 2, 0, 2], connects: false),
            .refused("3.1.1 [MQTT-3.1.3-8]", .v3_1_1, empty, [0x20, 2, 0, 2], connects: false),
            Self.refused("3.1.1 [MQTT-3.1.2-22]", .v3_1_1, password),
            Self.refused("[MQTT-3.1.2-24] a CONNACK is too large already", .v5_0, tiny, nil),
            .refused("length of five bytes", .v5_0, [0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], connects: false),
            .refused("[MQTT-1.5.5-1]", .v5_0, [0x10, 0x8F, 0x80, 0x00] + connect(.v5_0).dropFirst(2), connects: false),
        ])
    }

    @Test func whatFollowsAConnectWaitsForItsAnswer() throws {
        let runner = try WireRunner(try TestBroker())
        let subscribe = packet(0x82, [0, 1], properties(.v5_0), field("t"), [1])
        let method: [UInt8] = [0x15] + field("m")
        runner.run([
            WireCase(
                name: "accepted",
                version: .v5_0,
                connects: false,
                steps: [
                    .send(connect(.v5_0) + subscribe), .receiveConnack(0), .receive([0x90, 4, 0, 1, 0, 1]),
                ],
                end: .open
            ),
            .refused(
                "[MQTT-3.1.4-6] refused",
                .v5_0,
                connect(.v5_0, properties: method) + subscribe,
                [0x20, 3, 0, 0x8C, 0],
                connects: false
            ),
        ])
    }

    @Test func theFirstPacketMustBeConnect() throws {
        let runner = try WireRunner(try TestBroker())
        var cases: [WireCase] = []
        for version in [ProtocolVersion.v3_1_1, .v5_0] {
            for first in 0...255 as ClosedRange<UInt8> where first >> 4 != 1 {
                cases.append(.refused("[MQTT-3.1.0-1] \(first)", version, [first, 2, 0, 1], connects: false))
            }
        }
        runner.run(cases)
    }

    @Test func aSecondConnectIsAProtocolError() throws {
        let runner = try WireRunner(try TestBroker())
        runner.run(
            ProtocolVersion.allCases.map { version in
                .disconnected("[MQTT-3.1.0-2]", version, connect(version), 0x82)
            }
        )
    }

    @Test func connackBytesAreExact() throws {
        let runner = try WireRunner(try TestBroker())
        // Receive maximum 1000, topic alias maximum 10, maximum packet size 4 MiB.
        let limits: [UInt8] = [0x21, 0x03, 0xE8, 0x22, 0, 10, 0x27, 0, 0x40, 0, 0]
        func five(_ name: String, _ bytes: [UInt8], _ answer: [UInt8]) -> WireCase {
            WireCase(name: name, version: .v5_0, connects: false, steps: [.send(bytes), .receive(answer)], end: .open)
        }
        runner.run([
            WireCase(
                name: "3.1.1",
                version: .v3_1_1,
                connects: false,
                steps: [.send(connect(.v3_1_1)), .receive([0x20, 2, 0, 0])],
                end: .open
            ),
            five("5.0", connect(.v5_0), [0x20, 14, 0, 0, 11] + limits),
            five(
                "[MQTT-3.1.2-28] response information is not there, asked for or not",
                connect(.v5_0, properties: [0x19, 1, 0x17, 0]),
                [0x20, 14, 0, 0, 11] + limits
            ),
            five(
                "session expiry granted as asked for",
                connect(.v5_0, properties: [0x11, 0, 0, 0, 1]),
                [0x20, 14, 0, 0, 11] + limits
            ),
            five(
                "session expiry cut to seven days",
                connect(.v5_0, properties: [0x11, 0xFF, 0xFF, 0xFF, 0xFF]),
                [0x20, 19, 0, 0, 16, 0x11, 0, 0x09, 0x3A, 0x80] + limits
            ),
        ])
    }
}
