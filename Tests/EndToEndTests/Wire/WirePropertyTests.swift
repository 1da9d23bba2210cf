import Common
import TestSupport
import Testing

/// Every property in every packet of a client: whole, cut short, twice, and properties that do not exist (MQTT 5.0,
/// section 2.2.2).
@Suite struct WirePropertyTests {
    /// A value that is good wherever the property may be.
    private static func sample(_ identifier: PropertyIdentifier) -> [UInt8] {
        let value: [UInt8] =
            switch identifier {
            case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
                .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifiersAvailable,
                .sharedSubscriptionAvailable:
                [0]
            case .subscriptionIdentifier: [1]
            case .serverKeepAlive, .receiveMaximum, .topicAliasMaximum, .topicAlias: [0, 5]
            case .messageExpiryInterval, .willDelayInterval, .maximumPacketSize: [0, 1, 0, 0]
            case .sessionExpiryInterval: [0, 0, 0, 0]
            case .contentType, .responseTopic, .assignedClientIdentifier, .authenticationMethod, .responseInformation,
                .serverReference, .reasonString, .correlationData, .authenticationData:
                field("p")
            case .userProperty: field("p") + field("q")
            }
        return [identifier.rawValue] + value
    }

    /// A packet that may carry properties, as a client sends it.
    private struct Carrier {
        var name: String
        var allowed: Set<PropertyIdentifier>
        var connects = true
        /// What is answered to a packet that is in order; empty: nothing.
        var answer: [UInt8]
        var closesWhenInOrder = false
        /// What a property that is another packet's is called.
        var stray: UInt8 = 0x82
        var make: ([UInt8]) -> [UInt8]
    }

    private static let message: Set<PropertyIdentifier> = [
        .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData, .userProperty,
    ]

    private static func acknowledgement(_ first: UInt8, _ name: String, _ answer: [UInt8]) -> Carrier {
        Carrier(name: name, allowed: [.reasonString, .userProperty], answer: answer) { bytes in
            packet(first, [0, 1, 0], properties(.v5_0, bytes))
        }
    }

    private static var carriers: [Carrier] {
        [
            Carrier(
                name: "CONNECT",
                allowed: [
                    .sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum,
                    .requestResponseInformation, .requestProblemInformation, .userProperty,
                ],
                connects: false,
                answer: []
            ) { connect(.v5_0, properties: $0) },
            Carrier(
                name: "will",
                allowed: Self.message.union([.willDelayInterval]),
                connects: false,
                answer: []
            ) { bytes in
                let will = properties(.v5_0, bytes) + field("will") + field("gone")
                return connect(.v5_0, flags: 6, payload: field("wire") + will)
            },
            Carrier(name: "PUBLISH", allowed: Self.message.union([.topicAlias]), answer: [0x40, 3, 0, 7, 0x10]) {
                packet(0x32, field("topic"), [0, 7], properties(.v5_0, $0), Array("payload".utf8))
            },
            Self.acknowledgement(0x40, "PUBACK", []),
            Self.acknowledgement(0x50, "PUBREC", [0x62, 2, 0, 1]),
            Self.acknowledgement(0x62, "PUBREL", [0x70, 2, 0, 1]),
            Self.acknowledgement(0x70, "PUBCOMP", []),
            Carrier(
                name: "SUBSCRIBE",
                allowed: [.subscriptionIdentifier, .userProperty],
                answer: [0x90, 4, 0, 1, 0, 0],
                stray: 0x81
            ) { packet(0x82, [0, 1], properties(.v5_0, $0), field("p"), [0]) },
            Carrier(name: "UNSUBSCRIBE", allowed: [.userProperty], answer: [0xB0, 4, 0, 1, 0, 0x11], stray: 0x81) {
                packet(0xA2, [0, 1], properties(.v5_0, $0), field("p"))
            },
            Carrier(
                name: "DISCONNECT",
                allowed: [.sessionExpiryInterval, .reasonString, .userProperty, .serverReference],
                answer: [],
                closesWhenInOrder: true
            ) { packet(0xE0, [0], properties(.v5_0, $0)) },
        ]
    }

    private static func inOrder(_ carrier: Carrier, _ what: String, _ bytes: [UInt8]) -> WireCase {
        var steps = [WireCase.Step.send(carrier.make(bytes))]
        if !carrier.connects { steps.append(.receiveConnack(0)) }
        if !carrier.answer.isEmpty { steps.append(.receive(carrier.answer)) }
        return WireCase(
            name: "\(carrier.name) with \(what)",
            version: .v5_0,
            connects: carrier.connects,
            steps: steps,
            end: carrier.closesWhenInOrder ? .closed : .open
        )
    }

    private static func refused(_ carrier: Carrier, _ what: String, _ bytes: [UInt8], _ code: UInt8) -> WireCase {
        let answer: [UInt8] = carrier.connects ? [0xE0, 1, code] : [0x20, 3, 0, code, 0]
        return .refused(
            "\(carrier.name) with \(what)",
            .v5_0,
            carrier.make(bytes),
            answer,
            connects: carrier.connects
        )
    }

    private static func cases(_ carrier: Carrier) -> [WireCase] {
        var cases: [WireCase] = [Self.inOrder(carrier, "no property", [])]
        for identifier in PropertyIdentifier.allCases {
            // The methods and data of enhanced authentication are refused for what they are.
            let isAuthentication = identifier == .authenticationMethod || identifier == .authenticationData
            let sample = Self.sample(identifier)
            cases.append(Self.refused(carrier, "\(identifier) cut short", [identifier.rawValue], 0x81))
            if carrier.name == "CONNECT", isAuthentication { continue }
            guard carrier.allowed.contains(identifier) else {
                let stray = carrier.name == "PUBLISH" && identifier == .subscriptionIdentifier ? 0x82 : carrier.stray
                cases.append(Self.refused(carrier, "\(identifier)", sample, stray))
                continue
            }
            cases.append(Self.inOrder(carrier, "\(identifier)", sample))
            if identifier == .userProperty {
                cases.append(Self.inOrder(carrier, "two user properties", sample + sample))
                cases.append(Self.inOrder(carrier, "an empty user property", [0x26, 0, 0, 0, 0]))
                cases.append(Self.refused(carrier, "a user property without value", [0x26] + field("p"), 0x81))
                let ill = [0x26] + field("p") + field([0xED, 0xA0, 0x80])
                cases.append(Self.refused(carrier, "[MQTT-1.5.7-1] a surrogate in a user property", ill, 0x81))
            } else {
                cases.append(Self.refused(carrier, "\(identifier) twice", sample + sample, 0x82))
            }
        }
        for unknown in [0x00, 0x04, 0x0A, 0x0C, 0x10, 0x14, 0x1B, 0x1D, 0x20, 0x2B, 0x7F] as [UInt8] {
            cases.append(Self.refused(carrier, "unknown property \(unknown)", [unknown, 1], 0x81))
        }
        for encoded in [[0x80, 0x00], [0x80, 0x01], [0xFF, 0xFF, 0xFF, 0x7F], [0x80, 0x80, 0x80, 0x80, 0x01]]
            as [[UInt8]]
        {
            cases.append(Self.refused(carrier, "property identifier \(hex(encoded))", encoded + [1], 0x81))
        }
        return cases
    }

    @Test func propertiesAreTakenWhereTheyBelongAndRefusedElsewhere() throws {
        let runner = try WireRunner(try TestBroker())
        for carrier in Self.carriers { runner.run(Self.cases(carrier)) }
    }

    @Test func valuesOfPropertiesHaveTheirBounds() throws {
        let runner = try WireRunner(try TestBroker())
        func publish(_ bytes: [UInt8]) -> [UInt8] {
            packet(0x32, field("topic"), [0, 7], properties(.v5_0, bytes), [0x70])
        }
        func refusedConnect(_ name: String, _ bytes: [UInt8], _ code: UInt8) -> WireCase {
            .refused(name, .v5_0, connect(.v5_0, properties: bytes), [0x20, 3, 0, code, 0], connects: false)
        }
        func subscribe(_ identifier: [UInt8]) -> [UInt8] {
            packet(0x82, [0, 1], properties(.v5_0, [0x0B] + identifier), field("p"), [0])
        }
        runner.run([
            refusedConnect("receive maximum 0", [0x21, 0, 0], 0x82),
            refusedConnect("maximum packet size 0", [0x27, 0, 0, 0, 0], 0x82),
            refusedConnect("request problem information 2", [0x17, 2], 0x82),
            refusedConnect("request response information 2", [0x19, 2], 0x82),
            refusedConnect("authentication data without method", [0x16] + field("p"), 0x82),
            refusedConnect("two authentication methods", [0x15] + field("p") + [0x15] + field("p"), 0x82),
            refusedConnect("[MQTT-4.12.0-1] a method", [0x15] + field("SCRAM") + [0x16] + field("x"), 0x8C),
            .disconnected("payload format indicator 2", .v5_0, publish([0x01, 2]), 0x82),
            .disconnected("[MQTT-3.3.2-8] topic alias 0", .v5_0, publish([0x23, 0, 0]), 0x94),
            .disconnected("[MQTT-3.3.2-9] topic alias beyond the maximum", .v5_0, publish([0x23, 0, 11]), 0x94),
            .disconnected(
                "[MQTT-3.3.2-14] response topic with a wildcard",
                .v5_0,
                publish([0x08] + field("a/#")),
                0x82
            ),
            .disconnected("empty response topic", .v5_0, publish([0x08, 0, 0]), 0x82),
            .disconnected("[MQTT-3.3.2-13] response topic not UTF-8", .v5_0, publish([0x08] + field([0xFF])), 0x81),
            .disconnected("[MQTT-3.3.2-19] content type not UTF-8", .v5_0, publish([0x03] + field([0xFF])), 0x81),
            .disconnected("[MQTT-3.3.4-6] subscription identifier 0", .v5_0, publish([0x0B, 0]), 0x82),
            .disconnected("properties longer than the packet", .v5_0, packet(0x30, field("t"), [9, 1, 0]), 0x81),
            .disconnected("subscription identifier 0", .v5_0, subscribe([0]), 0x81),
            .disconnected("[MQTT-1.5.5-1] identifier with a byte too many", .v5_0, subscribe([0x80, 0]), 0x81),
            .disconnected("identifier of five bytes", .v5_0, subscribe([0x80, 0x80, 0x80, 0x80, 1]), 0x81),
            .taken("identifier 128", .v5_0, subscribe([0x80, 1]), [0x90, 4, 0, 1, 0, 0]),
            .taken("largest identifier", .v5_0, subscribe([0xFF, 0xFF, 0xFF, 0x7F]), [0x90, 4, 0, 1, 0, 0]),
        ])
    }
}
