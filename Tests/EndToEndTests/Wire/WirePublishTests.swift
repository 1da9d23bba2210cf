import Common
import TestSupport
import Testing

/// PUBLISH and its exchanges, in exact bytes (sections 3.3 and 4.3).
@Suite struct WirePublishTests {
    private static let two: [ProtocolVersion] = [.v3_1_1, .v5_0]

    private static func publish(
        _ version: ProtocolVersion,
        _ flags: UInt8,
        _ topic: [UInt8] = field("topic"),
        id: [UInt8]? = nil,
        _ bytes: [UInt8] = [],
        payload: String = "payload"
    ) -> [UInt8] {
        let identifier = id ?? (flags & 6 == 0 ? [] : [0x12, 0x34])
        return packet(0x30 | flags, topic, identifier, properties(version, bytes), Array(payload.utf8))
    }

    @Test func publishesMustBeInOrder() throws {
        let runner = try WireRunner(try TestBroker())
        for version in Self.two {
            let puback: [UInt8] = version == .v5_0 ? [0x40, 3, 0x12, 0x34, 0x10] : [0x40, 2, 0x12, 0x34]
            runner.run([
                .taken("QoS 0", version, Self.publish(version, 0)),
                .taken("retained", version, Self.publish(version, 1)),
                .taken("retained and empty", version, Self.publish(version, 1, payload: "")),
                .taken("QoS 1", version, Self.publish(version, 2), puback),
                .taken("QoS 1, DUP", version, Self.publish(version, 0xA), puback),
                .taken("QoS 2", version, Self.publish(version, 4), [0x50, 2, 0x12, 0x34]),
                .taken(
                    "state of a bridge",
                    version,
                    Self.publish(version, 4, field("$SYS/broker/connection/me/state")),
                    [0x50, 2, 0x12, 0x34]
                ),
                .disconnected("[MQTT-3.3.1-2] QoS 0, DUP", version, Self.publish(version, 8), 0x81),
                .disconnected("[MQTT-3.3.1-4] QoS 3", version, Self.publish(version, 6), 0x81),
                .disconnected("[MQTT-2.2.1-3] identifier 0", version, Self.publish(version, 2, id: [0, 0]), 0x82),
                .disconnected("identifier 0", version, Self.publish(version, 4, id: [0, 0]), 0x82),
                .disconnected("[MQTT-4.7.3-1] empty topic", version, Self.publish(version, 0, field("")), 0x81),
                .disconnected("[MQTT-3.3.2-2] +", version, Self.publish(version, 0, field("+opic")), 0x81),
                .disconnected("[MQTT-3.3.2-2] #", version, Self.publish(version, 0, field("a/#")), 0x81),
                .disconnected("topic cut short", version, packet(0x30, [0, 9, 0x61]), 0x81),
                .disconnected("no topic", version, packet(0x30), 0x81),
                .disconnected("no identifier", version, packet(0x32, field("topic")), 0x81),
                .taken("U+2A6D4", version, Self.publish(version, 0, field([0x41, 0xF0, 0xAA, 0x9B, 0x94]))),
            ])
            for (name, bytes) in badTexts {
                runner.run([.disconnected("topic, \(name)", version, Self.publish(version, 0, field(bytes)), 0x81)])
            }
        }
        for topic in ["$SYS/broker/uptime", "$SYS/broker/connection/me", "$share/g/t"] {
            let bytes = Self.publish(.v5_0, 4, field(topic))
            runner.run([.taken("\(topic) is not for clients", .v5_0, bytes, [0x50, 3, 0x12, 0x34, 0x87])])
        }
        runner.run([
            .disconnected("alias that is not known", .v5_0, Self.publish(.v5_0, 2, field(""), [0x23, 0, 1]), 0x82)
        ])
    }

    /// The exchange of a message of another client, up to the identifier's first use by the broker, which is 1.
    private static func received(
        _ version: ProtocolVersion,
        _ qos: QoS,
        _ steps: [WireCase.Step],
        _ end: WireCase.End,
        _ name: String
    ) -> WireCase {
        let none = properties(version)
        return WireCase(
            name: name,
            version: version,
            steps: [
                .send(packet(0x82, [0, 9], none, field("flow"), [qos.rawValue])),
                .receive(packet(0x90, [0, 9], none, [qos.rawValue])),
                .otherPublishes(topic: "flow", qos),
                .receive(packet(0x30 | qos.rawValue << 1, field("flow"), [0, 1], none, [0x78])),
            ] + steps,
            end: end
        )
    }

    @Test func exchangesOfReceivedMessages() throws {
        let runner = try WireRunner(try TestBroker())
        for version in Self.two {
            let wrong: [WireCase.Step] = version == .v5_0 ? [.receive([0xE0, 1, 0x82])] : []
            let puback = WireCase.Step.send([0x40, 2, 0, 1])
            let pubrec = WireCase.Step.send([0x50, 2, 0, 1])
            let pubrel = WireCase.Step.receive([0x62, 2, 0, 1])
            let pubcomp = WireCase.Step.send([0x70, 2, 0, 1])
            runner.run([
                Self.received(version, .atLeastOnce, [puback], .open, "QoS 1, PUBACK"),
                Self.received(version, .atLeastOnce, [puback, puback], .open, "QoS 1, PUBACK twice"),
                Self.received(version, .atLeastOnce, [pubrec] + wrong, .closed, "QoS 1, PUBREC"),
                Self.received(version, .atLeastOnce, [pubcomp] + wrong, .closed, "QoS 1, PUBCOMP"),
                Self.received(version, .exactlyOnce, [pubrec, pubrel, pubcomp], .open, "QoS 2"),
                Self.received(version, .exactlyOnce, [pubrec, pubrel, pubrec, pubrel], .open, "QoS 2, PUBREC twice"),
                Self.received(version, .exactlyOnce, [puback] + wrong, .closed, "QoS 2, PUBACK"),
                Self.received(version, .exactlyOnce, [pubcomp] + wrong, .closed, "QoS 2, PUBCOMP without PUBREC"),
                Self.received(
                    version,
                    .exactlyOnce,
                    [pubrec, pubrel, puback] + wrong,
                    .closed,
                    "QoS 2, PUBACK at last"
                ),
            ])
        }
        runner.run([
            Self.received(.v5_0, .exactlyOnce, [.send([0x50, 3, 0, 1, 0x80])], .open, "[MQTT-4.3.3-4] no PUBREL"),
            Self.received(.v5_0, .atLeastOnce, [.send([0x40, 3, 0, 1, 0x80])], .open, "[MQTT-4.4.0-2]"),
        ])
    }

    @Test func exchangesOfSentMessages() throws {
        let runner = try WireRunner(try TestBroker())
        let pubrec = WireCase.Step.receive([0x50, 2, 0x12, 0x34])
        for version in Self.two {
            let first = WireCase.Step.send(Self.publish(version, 4))
            let again = WireCase.Step.send(Self.publish(version, 0xC))
            let wrong: [WireCase.Step] = version == .v5_0 ? [.receive([0xE0, 1, 0x82])] : []
            let finish: [WireCase.Step] = [.send([0x62, 2, 0x12, 0x34]), .receive([0x70, 2, 0x12, 0x34])]
            let empty = WireCase.Step.send(Self.publish(version, 4, payload: ""))
            runner.run([
                WireCase(name: "QoS 2", version: version, steps: [first, pubrec] + finish, end: .open),
                WireCase(
                    name: "[MQTT-4.3.3-10] sent again with DUP, as often as it likes",
                    version: version,
                    steps: [first, pubrec, again, pubrec, again, pubrec, again, pubrec] + finish,
                    end: .open
                ),
                WireCase(
                    name: "sent again and again without DUP",
                    version: version,
                    steps: [first, pubrec, first, pubrec, first] + wrong,
                    end: .closed
                ),
                WireCase(
                    name: "with and without payload",
                    version: version,
                    steps: [empty, pubrec, first, pubrec, empty, pubrec],
                    end: .open
                ),
                WireCase(
                    name: "[MQTT-4.3.3-12] the identifier is free after PUBCOMP",
                    version: version,
                    steps: [first, pubrec] + finish + [first, pubrec] + finish,
                    end: .open
                ),
            ])
        }
        for tail in [[], [0], [0, 0], [0x92], [0, 13, 0x26] + field("key") + field("value")] as [[UInt8]] {
            let steps: [WireCase.Step] = [
                .send(Self.publish(.v5_0, 4)), pubrec, .send(packet(0x62, [0x12, 0x34], tail)),
                .receive([0x70, 2, 0x12, 0x34]),
            ]
            runner.run([WireCase(name: "PUBREL \(hex(tail))", version: .v5_0, steps: steps, end: .open)])
        }
    }

    /// Subscribes to "topic" and gets back what it publishes there.
    private static func echoed(
        _ name: String,
        _ version: ProtocolVersion,
        subscribe: [UInt8] = [],
        options: UInt8 = 1,
        _ dialogue: (sent: [UInt8], received: [UInt8])...
    ) -> WireCase {
        var steps: [WireCase.Step] = [
            .send(packet(0x82, [0, 9], properties(version, subscribe), field("topic"), [options])),
            .receive(packet(0x90, [0, 9], properties(version), [options & 3])),
        ]
        for (sent, received) in dialogue {
            steps.append(.send(sent))
            if !received.isEmpty { steps.append(.receive(received)) }
        }
        return WireCase(name: name, version: version, steps: steps, end: .open)
    }

    @Test func whatIsDeliveredIsWhatWasPublished() throws {
        let runner = try WireRunner(try TestBroker())
        for version in Self.two {
            let plain = Self.publish(version, 0)
            runner.run([
                Self.echoed("QoS 0", version, (plain, plain)),
                Self.echoed(
                    "empty payload",
                    version,
                    (Self.publish(version, 0, payload: ""), Self.publish(version, 0, payload: ""))
                ),
                // [MQTT-3.3.1-9] of 3.1.1, [MQTT-3.3.1-12]; and the retained message goes again.
                Self.echoed(
                    "retained",
                    version,
                    (Self.publish(version, 1), plain),
                    (Self.publish(version, 1, payload: ""), Self.publish(version, 0, payload: ""))
                ),
            ])
        }
        for property in [
            [0x01, 1], [0x02, 0, 0, 0, 100], [0x03] + field("text/plain"), [0x08] + field("answers"),
            [0x09] + field([0, 0xFF]), [0x26] + field("b") + field("2") + [0x26] + field("a") + field("1"),
        ] as [[UInt8]] {
            let bytes = Self.publish(.v5_0, 0, field("topic"), property)
            runner.run([Self.echoed("[MQTT-3.3.2-4], -15 to -20 \(hex(property))", .v5_0, (bytes, bytes))])
        }
        let plain = Self.publish(.v5_0, 0)
        runner.run([
            Self.echoed(
                "[MQTT-3.3.2-12] topic alias",
                .v5_0,
                (Self.publish(.v5_0, 0, field("topic"), [0x23, 0, 1]), plain),
                (Self.publish(.v5_0, 0, field(""), [0x23, 0, 1]), plain),
                (Self.publish(.v5_0, 0, field("topic"), [0x23, 0, 10]), plain)
            ),
            Self.echoed(
                "[MQTT-3.3.4-3] subscription identifier",
                .v5_0,
                subscribe: [0x0B, 0x80, 0x01],
                (plain, Self.publish(.v5_0, 0, field("topic"), [0x0B, 0x80, 0x01]))
            ),
            Self.echoed("[MQTT-3.8.3-3] no local", .v5_0, options: 5, (plain, [])),
            Self.echoed(
                "[MQTT-3.3.1-13] retain as published",
                .v5_0,
                options: 9,
                (Self.publish(.v5_0, 1), Self.publish(.v5_0, 1)),
                (Self.publish(.v5_0, 1, payload: ""), Self.publish(.v5_0, 1, payload: ""))
            ),
        ])
    }

    @Test func theLargestTopicArrives() throws {
        let runner = try WireRunner(try TestBroker())
        let topic = [UInt8](repeating: 0x74, count: 65_535)
        for version in Self.two {
            let bytes = Self.publish(version, 0, field(topic))
            let none = properties(version)
            runner.run([
                WireCase(
                    name: "[MQTT-4.7.3-3]",
                    version: version,
                    steps: [
                        .send(packet(0x82, [0, 9], none, field(topic), [0])),
                        .receive(packet(0x90, [0, 9], none, [0])),
                        .send(bytes), .receive(bytes),
                    ],
                    end: .open
                )
            ])
        }
    }

    @Test func packetsLargerThanTheClientTakesAreLeftOut() throws {
        let runner = try WireRunner(try TestBroker())
        let small = Self.publish(.v5_0, 0)
        let steps: [WireCase.Step] = [
            .send(connect(.v5_0, properties: [0x27, 0, 0, 0, 20])), .receiveConnack(0),
            .send(packet(0x82, [0, 9, 0], field("topic"), [0])), .receive([0x90, 4, 0, 9, 0, 0]),
            .send(Self.publish(.v5_0, 0, payload: "payloadpayload")), .send(small), .receive(small),
        ]
        runner.run([
            WireCase(
                name: "[MQTT-3.1.2-24], [MQTT-3.1.2-25]",
                version: .v5_0,
                connects: false,
                steps: steps,
                end: .open
            )
        ])
    }
}
