import Common

enum CodecCases {
    private static func publish() -> [UInt8] {
        var properties = Properties()
        properties.contentType = Array("application/json".utf8)
        properties.userProperties = [.init(name: Array("k".utf8), value: Array("v".utf8))]
        var buffer = ByteBuffer()
        PublishPacket(
            qos: .atLeastOnce,
            topic: Array("devices/346a004d-1dab-4016-bb38-f9bfbab256fe/state".utf8),
            packetIdentifier: 7,
            properties: properties,
            payload: [UInt8](repeating: 0x61, count: 128)
        ).encode(into: &buffer, version: .v5_0)
        return buffer.array
    }

    static func decodePublish(_ iterations: Int) throws {
        var seen = 0
        try Self.publish().withUnsafeBytes { bytes in
            for _ in 0..<iterations {
                guard case .header(let header) = FixedHeader.decode(bytes) else { continue }
                seen += try PublishView.decode(bytes, header: header, version: .v5_0).payload.count
            }
        }
        precondition(seen == iterations * 128, "the payload was not found")
    }

    /// A buffer of 64 frames.
    static func splitFrames(_ iterations: Int) throws {
        var buffer = ByteBuffer()
        for index in 0..<64 {
            buffer.writeFrameHeader(.sessionPackets, handle: UInt64(index), bodyBytes: 150)
            buffer.write([UInt8](repeating: 0, count: 150))
        }
        var seen = 0
        for index in 0..<iterations {
            let offset = index % 64 * (FrameHeader.byteCount + 150)
            guard case .frame(let frame) = FrameReader.frame(in: buffer.readable, at: offset) else { continue }
            seen += frame.body.count
        }
        precondition(seen == iterations * 150, "a frame was not found")
    }
}
