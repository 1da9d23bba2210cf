import Common
import TestSupport
import Testing

/// Fixed headers, acknowledgements, SUBSCRIBE and UNSUBSCRIBE, DISCONNECT, AUTH.
@Suite struct WirePacketTests {
    private static let two: [ProtocolVersion] = [.v3_1_1, .v5_0]

    /// All that can be wrong in two bytes, and so can be sent over any connection.
    private static func headerCases(_ version: ProtocolVersion) -> [WireCase] {
        var cases: [WireCase] = []
        for flags in 0...15 as ClosedRange<UInt8> {
            cases.append(.disconnected("type 0, flags \(flags)", version, [flags, 0], 0x82))
            for type in [PacketType.connack, .suback, .unsuback, .pingresp, .auth] {
                // [MQTT-4.12.0-7]; the others only servers send.
                cases.append(.disconnected("\(type) \(flags)", version, [type.rawValue << 4 | flags, 0], 0x82))
            }
            for type in [
                PacketType.puback, .pubrec, .pubrel, .pubcomp, .subscribe, .unsubscribe, .pingreq, .disconnect,
            ]
            where flags != type.requiredFlags {
                let bytes = [type.rawValue << 4 | flags, 2, 0, 1]
                cases.append(.disconnected("[MQTT-2.1.3-1] \(type) \(flags)", version, bytes, 0x81))
            }
        }
        for type in 1...15 as ClosedRange<UInt8> where type != 3 {
            let flags = PacketType(rawValue: type)?.requiredFlags ?? 0
            let bytes: [UInt8] = [type << 4 | flags, 0x80, 0x80, 0x80, 0x80, 0x01]
            cases.append(.refused("type \(type), length of five bytes", version, bytes))
        }
        cases += [
            .refused("PUBLISH, length of five bytes", version, [0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
            .disconnected("[MQTT-1.5.5-1] length with a byte too many", version, [0x30, 0x80, 0x00], 0x81),
            .refused("PINGREQ with a body", version, [0xC0, 1, 0]),
            .disconnected("[MQTT-3.2.2-15] packet too large", version, [0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
        ]
        return cases
    }

    @Test func fixedHeadersMustBeInOrder() throws {
        let runner = try WireRunner(try TestBroker())
        for version in Self.two { runner.run(Self.headerCases(version)) }
        // Sent again, which 3.1 allows.
        runner.run([
            .taken("3.1: SUBSCRIBE with DUP", .v3_1, packet(0x8A, [0, 1], field("t"), [1]), [0x90, 3, 0, 1, 1]),
            .taken("3.1: UNSUBSCRIBE with DUP", .v3_1, packet(0xAA, [0, 1], field("t")), [0xB0, 2, 0, 1]),
            .taken("3.1: PUBREL with DUP", .v3_1, packet(0x6A, [0, 1]), [0x70, 2, 0, 1]),
        ])
    }

    @Test func theSameOverMutualTLS() throws {
        let runner = try WireRunner(try TestBroker(), device: "wire")
        for version in Self.two { runner.run(Self.headerCases(version)) }
    }

    @Test func pingsAreAnswered() throws {
        let runner = try WireRunner(try TestBroker())
        runner.run(ProtocolVersion.allCases.map { .taken("[MQTT-3.12.4-1]", $0, [0xC0, 0], [0xD0, 0]) })
    }

    @Test func acknowledgementsMustBeInOrder() throws {
        let runner = try WireRunner(try TestBroker())
        // What is answered to one that nobody waits for.
        for (first, answer) in [(0x40, []), (0x50, [0x62, 2, 0, 1]), (0x62, [0x70, 2, 0, 1]), (0x70, [])]
            as [(UInt8, [UInt8])]
        {
            let isPubrel = first == 0x62 || first == 0x70
            for version in Self.two {
                runner.run([
                    .taken("\(first) unsolicited", version, packet(first, [0, 1]), answer),
                    .disconnected("\(first) empty", version, packet(first), 0x81),
                    .disconnected("\(first) short", version, packet(first, [1]), 0x81),
                    .disconnected("\(first) identifier 0", version, packet(first, [0, 0]), 0x82),
                ])
            }
            let failure: UInt8 = isPubrel ? 0x92 : 0x80
            runner.run([
                .disconnected("\(first) with a reason", .v3_1_1, packet(first, [0, 1, 0]), 0x81),
                .taken("\(first) with a reason", .v5_0, packet(first, [0, 1, 0]), answer),
                .taken("\(first) with a failure", .v5_0, packet(first, [0, 1, failure]), first == 0x62 ? answer : []),
                .taken("\(first) with properties", .v5_0, packet(first, [0, 1, 0, 0]), answer),
                .disconnected("\(first) with an unknown reason", .v5_0, packet(first, [0, 1, 0xFF, 0]), 0x82),
                .disconnected("\(first) with a wrong reason", .v5_0, packet(first, [0, 1, 0x8F]), 0x82),
                .disconnected("\(first) long", .v5_0, packet(first, [0, 1, 0, 0, 0]), 0x81),
                .disconnected("\(first) properties missing", .v5_0, packet(first, [0, 1, 0, 1]), 0x81),
            ])
        }
    }

    @Test func subscribesMustBeInOrder() throws {
        let runner = try WireRunner(try TestBroker())
        for version in ProtocolVersion.allCases {
            let none = properties(version)
            let id: [UInt8] = [0x12, 0x34]
            func subscribe(_ parts: [UInt8]...) -> [UInt8] { packet(0x82, id, none, parts.flatMap { $0 }) }
            func suback(_ codes: UInt8...) -> [UInt8] { packet(0x90, id, none, codes) }
            runner.run([
                .taken("[MQTT-3.8.4-1] QoS 0", version, subscribe(field("p"), [0]), suback(0)),
                .taken("[MQTT-3.8.4-7] QoS 2", version, subscribe(field("p"), [2]), suback(2)),
                .taken(
                    "[MQTT-3.9.3-1] several",
                    version,
                    subscribe(field("a"), [1], field("#"), [0], field("+/b"), [2]),
                    suback(1, 0, 2)
                ),
                .disconnected("[MQTT-3.8.3-2] no filter", version, subscribe(), 0x81),
                .disconnected("no identifier", version, packet(0x82, [0x12]), 0x81),
                .disconnected("empty", version, packet(0x82), 0x81),
                .disconnected("identifier 0", version, packet(0x82, [0, 0], none, field("p"), [0]), 0x81),
                .disconnected("no QoS", version, subscribe(field("p")), 0x81),
                .disconnected("half a filter", version, subscribe([0, 5, 0x61]), 0x81),
                .disconnected("something behind", version, subscribe(field("p"), [0, 0]), 0x81),
                .disconnected("[MQTT-4.7.3-1] empty filter", version, subscribe(field(""), [0]), 0x81),
                .disconnected("empty filter, second", version, subscribe(field("a"), [0], field(""), [0]), 0x81),
                .disconnected("QoS 3", version, subscribe(field("p"), [3]), 0x81),
            ])
            for (name, bytes) in badTexts {
                runner.run([.disconnected("filter, \(name)", version, subscribe(field(bytes), [0]), 0x81)])
            }
            for filter in ["a#", "#/a", "a/#/b", "a+", "+a", "a/+b/c", "##", "++"] {
                runner.run([.disconnected("[MQTT-4.7.1-1], -2 \(filter)", version, subscribe(field(filter), [0]), 0x81)]
                )
            }
            for filter in [
                "#", "+", "a/#", "+/#", "/", "//", "/+", "a/+/b", "$SYS/x/#", String(repeating: "+/", count: 199) + "+",
            ] {
                runner.run([.taken("filter \(filter)", version, subscribe(field(filter), [0]), suback(0))])
            }
            for (filter, code) in [
                ("$share/g", 0x82), ("$share/g/", 0x82), ("$share//t", 0x82), ("$share/+/t", 0x82),
                ("$share/#/t", 0x81),
                ("$share/g/t#", 0x81),
            ] as [(String, UInt8)] {
                runner.run([.disconnected("[MQTT-4.8.2-1] \(filter)", version, subscribe(field(filter), [0]), code)])
            }
            runner.run([.taken("shared", version, subscribe(field("$share/g/t/+"), [1]), suback(1))])
        }
        for bit in 2...7 as ClosedRange<UInt8> {
            let bytes = packet(0x82, [0, 1], field("p"), [1 << bit])
            runner.run([.disconnected("3.1.1 [MQTT-3.8.3-4] bit \(bit)", .v3_1_1, bytes, 0x81)])
        }
        func five(_ options: UInt8, _ filter: String = "p") -> [UInt8] {
            packet(0x82, [0, 1, 0], field(filter), [options])
        }
        runner.run([
            .taken("no local, as published, retain handling 2", .v5_0, five(0x2D), [0x90, 4, 0, 1, 0, 1]),
            .disconnected("retain handling 3", .v5_0, five(0x30), 0x81),
            .disconnected("[MQTT-3.8.3-5]", .v5_0, five(0x40), 0x81),
            .disconnected("[MQTT-3.8.3-5]", .v5_0, five(0x80), 0x81),
            .disconnected("[MQTT-3.8.3-4] no local, shared", .v5_0, five(4, "$share/g/t"), 0x82),
        ])
    }

    @Test func unsubscribesMustBeInOrder() throws {
        let runner = try WireRunner(try TestBroker())
        for version in ProtocolVersion.allCases {
            let none = properties(version)
            let id: [UInt8] = [0x12, 0x34]
            func unsubscribe(_ parts: [UInt8]...) -> [UInt8] { packet(0xA2, id, none, parts.flatMap { $0 }) }
            func unsuback(_ codes: [UInt8]) -> [UInt8] { packet(0xB0, id, none, version == .v5_0 ? codes : []) }
            runner.run([
                .taken("[MQTT-3.10.4-5] not subscribed", version, unsubscribe(field("p")), unsuback([0x11])),
                .taken(
                    "[MQTT-3.10.4-6] several",
                    version,
                    unsubscribe(field("p"), field("q")),
                    unsuback([0x11, 0x11])
                ),
                WireCase(
                    name: "[MQTT-3.10.4-1] subscribed",
                    version: version,
                    steps: [
                        .send(packet(0x82, id, none, field("p"), [0])), .receive(packet(0x90, id, none, [0])),
                        .send(unsubscribe(field("q"), field("p"))), .receive(unsuback([0x11, 0])),
                    ],
                    end: .open
                ),
                .disconnected("[MQTT-3.10.3-2] no filter", version, unsubscribe(), 0x81),
                .disconnected("empty", version, packet(0xA2), 0x81),
                .disconnected("no identifier", version, packet(0xA2, [0x12]), 0x81),
                .disconnected("identifier 0", version, packet(0xA2, [0, 0], none, field("p")), 0x81),
                .disconnected("empty filter", version, unsubscribe(field("a"), field("")), 0x81),
                .disconnected("half a filter", version, unsubscribe([0, 1]), 0x81),
                .disconnected("ill-formed filter", version, unsubscribe(field("a#")), 0x81),
            ])
            for (name, bytes) in badTexts {
                runner.run([.disconnected("filter, \(name)", version, unsubscribe(field(bytes)), 0x81)])
            }
        }
    }

    @Test func disconnectsEndTheConnection() throws {
        let runner = try WireRunner(try TestBroker())
        for version in ProtocolVersion.allCases { runner.run([.refused("in order", version, [0xE0, 0])]) }
        // Whether it is a code for clients, one for servers, or none: nobody is there to be told.
        for code in 0...255 as ClosedRange<UInt8> {
            runner.run([.refused("[MQTT-3.14.2-1] \(code)", .v5_0, [0xE0, 1, code])])
        }
        runner.run([
            .refused("3.1.1 with a body", .v3_1_1, [0xE0, 1, 0]),
            .refused("empty properties", .v5_0, [0xE0, 2, 0x82, 0]),
            .disconnected("properties cut short", .v5_0, [0xE0, 5, 0, 3, 0x11, 0, 0], 0x81),
            .disconnected("session expiry after none at CONNECT", .v5_0, [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1], 0x82),
            .refused("session expiry 0", .v5_0, [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]),
            WireCase(
                name: "[MQTT-3.14.4-1] what follows is not looked at",
                version: .v5_0,
                steps: [.send([0xE0, 0, 0xC0, 0, 0xFF])],
                end: .closed
            ),
        ])
    }

    @Test func authIsAProtocolErrorWithoutAMethod() throws {
        let runner = try WireRunner(try TestBroker())
        runner.run([
            .disconnected("[MQTT-4.12.0-7]", .v5_0, [0xF0, 2, 0x18, 0], 0x82),
            .disconnected("with a method", .v5_0, packet(0xF0, [0x19], properties(.v5_0, [0x15] + field("m"))), 0x82),
            .refused("3.1.1", .v3_1_1, [0xF0, 0]),
        ])
    }
}

/// What no string may hold.
let badTexts: [(String, [UInt8])] = [
    ("U+0000", [0x61, 0]), ("a surrogate", [0xED, 0xA0, 0x80]), ("overlong NUL", [0xC0, 0x80]),
    ("overlong slash", [0xE0, 0x80, 0xAF]), ("U+0001", [0x61, 1, 0x62]), ("U+001F", [0x1F]), ("U+007F", [0x7F]),
    ("U+009F", [0xC2, 0x9F]), ("U+FFFF", [0xEF, 0xBF, 0xBF]), ("half a character", [0xE4, 0xB8]),
    ("beyond U+10FFFF", [0xF4, 0x90, 0x80, 0x80]), ("0xFF", [0xFF]),
]
