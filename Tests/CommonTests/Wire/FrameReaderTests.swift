import Common
import TestSupport
import Testing

@Suite struct FrameReaderTests {
    private let stream = WireSamples.bytes { buffer in
        WireSamples.hello.encode(into: &buffer)
        buffer.writeFrameHeader(.sessionClosed, handle: 3, bodyBytes: 1)
        buffer.write(SessionCloseCause.keepAliveTimeout.rawValue)
        buffer.writeFrameHeader(.statusRequest, handle: 0, bodyBytes: 0)
        let flags = FrameFlags.packetContinues | FrameFlags.debitsCredit
        buffer.writeFrameHeader(.sessionDeliver, flags: flags, handle: UInt64.max, bodyBytes: 300)
        buffer.write([UInt8](repeating: 9, count: 300))
    }

    /// What a link does: keeps what is no whole frame yet.
    private func read(_ chunks: [[UInt8]]) -> [PlainFrame] {
        var buffer = ByteBuffer()
        var frames: [PlainFrame] = []
        for chunk in chunks {
            buffer.write(chunk)
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: buffer.readable, at: offset) {
                frames.append(PlainFrame(frame))
                offset += FrameHeader.byteCount + frame.header.bodyBytes
            }
            buffer.consume(offset)
        }
        return frames
    }

    @Test("The same frames come out however the stream is cut")
    func everySplit() throws {
        let expected = try #require(WireSamples.frames(self.stream))
        #expect(expected.count == 4)
        #expect(expected[1].body == [2])
        #expect(expected[3].flags == 3)
        #expect(expected[3].handle == UInt64.max)
        for cut in 0...self.stream.count {
            let frames = self.read([Array(self.stream[..<cut]), Array(self.stream[cut...])])
            if frames != expected { Issue.record("cut at \(cut): \(frames.count) frames") }
        }
        #expect(self.read(self.stream.map { [$0] }) == expected)
    }

    @Test("A body above the limit and reserved bytes that are set end the link")
    func invalid() {
        func isInvalid(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes {
                if case .invalid = FrameReader.frame(in: $0, at: 0) { return true }
                return false
            }
        }
        let header = WireSamples.bytes { $0.writeFrameHeader(.statusRequest, handle: 1, bodyBytes: 0) }
        #expect(!isInvalid(header))
        for (index, value) in [(6, UInt8(1)), (7, 0x80), (3, 1), (3, 0xFF)] {
            var broken = header
            broken[index] = value
            #expect(isInvalid(broken), "byte \(index) is \(value)")
        }
        let tooLong = WireSamples.bytes { buffer in
            buffer.writeLittleEndian(UInt32(Limits.frameBodyBytesMax + 1))
            buffer.write([UInt8](repeating: 0, count: 12))
        }
        #expect(isInvalid(tooLong))
    }

    @Test("A frame of an unknown kind is passed over by its length")
    func unknownKind() throws {
        var stream: [UInt8] = [5, 0, 0, 0, 0x7E, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5]
        #expect(FrameKind(rawValue: 0x7E) == nil)
        stream += WireSamples.bytes { $0.writeFrameHeader(.statusRequest, handle: 4, bodyBytes: 0) }
        let frames = try #require(WireSamples.frames(stream))
        #expect(frames.map(\.kind) == [0x7E, FrameKind.statusRequest.rawValue])
        #expect(frames.last?.handle == 4)
    }

    @Test("Random bytes never crash the reader")
    func random() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var results = Set<String>()
        for _ in 0..<20_000 {
            var bytes = random.bytes(Int.random(in: 0...40, using: &random))
            // Otherwise nearly all lengths are above the limit.
            if bytes.count > 3, random.oneIn(2) { bytes.replaceSubrange(1...3, with: [0, 0, 0]) }
            if bytes.count > 7, random.oneIn(2) { bytes.replaceSubrange(6...7, with: [0, 0]) }
            let result = bytes.withUnsafeBytes { memory in
                switch FrameReader.frame(in: memory, at: 0) {
                case .needMore: "needMore"
                case .invalid: "invalid"
                case .frame(let frame): frame.body.count <= 24 ? "frame" : "beyond the end"
                }
            }
            results.insert(result)
        }
        #expect(results == ["needMore", "invalid", "frame"], "seed \(seed)")
    }
}
