import Common

/// A frame that outlives its buffer.
struct PlainFrame: Equatable {
    struct Leftover: Error {}

    var kind: UInt8
    var flags: UInt8
    var handle: UInt64
    var body: [UInt8]

    init(_ frame: Frame) {
        self.kind = frame.header.kind
        self.flags = frame.flags
        self.handle = frame.handle
        self.body = [UInt8](frame.body)
    }

    var frameKind: FrameKind? { FrameKind(rawValue: self.kind) }

    /// All frames in `bytes`, which must hold nothing else.
    static func all(in bytes: [UInt8]) throws -> [PlainFrame] {
        let (frames, offset) = bytes.withUnsafeBytes { memory in
            var frames: [PlainFrame] = []
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: memory, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                frames.append(PlainFrame(frame))
            }
            return (frames, offset)
        }
        guard offset == bytes.count else { throw Leftover() }
        return frames
    }
}
