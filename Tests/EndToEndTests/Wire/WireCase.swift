import Common

/// A dialogue in exact bytes: what a client sends, what the broker must answer, and whether the connection is open after that.
struct WireCase {
    enum Step {
        case send([UInt8])
        case receive([UInt8])
        /// A CONNACK with this code, whatever its properties; in 3.1 and 3.1.1 it has none.
        case receiveConnack(UInt8)
        /// Another client publishes, and its exchange is completed.
        case otherPublishes(topic: String, QoS)
    }

    enum End {
        /// Closed by the broker, and nothing more was sent.
        case closed
        /// PINGREQ is answered by PINGRESP, and nothing else was sent.
        case open
    }

    var name: String
    var version: ProtocolVersion
    /// The dialogue begins after an ordinary CONNECT was accepted.
    var connects = true
    var steps: [Step]
    var end: End
}

extension WireCase {
    /// One packet, which the broker answers with these bytes, and closes the connection.
    static func refused(
        _ name: String,
        _ version: ProtocolVersion,
        _ packet: [UInt8],
        _ answer: [UInt8] = [],
        connects: Bool = true
    ) -> WireCase {
        let answers = answer.isEmpty ? [] : [Step.receive(answer)]
        return WireCase(
            name: name,
            version: version,
            connects: connects,
            steps: [.send(packet)] + answers,
            end: .closed
        )
    }

    /// One packet that is malformed or a protocol error: 5.0 is told the code in a DISCONNECT, others are not told.
    static func disconnected(_ name: String, _ version: ProtocolVersion, _ packet: [UInt8], _ code: UInt8) -> WireCase {
        .refused(name, version, packet, version == .v5_0 ? [0xE0, 1, code] : [])
    }

    /// One packet that is answered with these bytes (none: not at all).
    static func taken(_ name: String, _ version: ProtocolVersion, _ packet: [UInt8], _ answer: [UInt8] = []) -> WireCase
    {
        let answers = answer.isEmpty ? [] : [Step.receive(answer)]
        return WireCase(name: name, version: version, steps: [.send(packet)] + answers, end: .open)
    }
}

/// A packet of this first byte; the remaining length is added.
func packet(_ first: UInt8, _ parts: [UInt8]...) -> [UInt8] {
    let body = parts.flatMap { $0 }
    var buffer = ByteBuffer()
    buffer.write(first)
    buffer.writeVariableByteInteger(body.count)
    buffer.write(body)
    return buffer.array
}

/// A string or binary data with its length.
func field(_ text: String) -> [UInt8] { field(Array(text.utf8)) }

func field(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes }

/// Properties with their length, which is below 128; none before 5.0.
func properties(_ version: ProtocolVersion, _ bytes: [UInt8] = []) -> [UInt8] {
    version == .v5_0 ? [UInt8(bytes.count)] + bytes : []
}

/// A CONNECT: everything can be something else than it should.
func connect(
    _ version: ProtocolVersion,
    flags: UInt8 = 2,
    name: String? = nil,
    level: UInt8? = nil,
    properties bytes: [UInt8] = [],
    payload: [UInt8] = field("wire")
) -> [UInt8] {
    let name = name ?? (version == .v3_1 ? "MQIsdp" : "MQTT")
    return packet(
        0x10,
        field(name),
        [level ?? version.rawValue, flags, 0, 60],
        properties(version, bytes),
        payload
    )
}
