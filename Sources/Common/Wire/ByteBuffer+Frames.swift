extension ByteBuffer {
    /// Writes a header whose length `endFrame` fills in; returns the frame's position for it.
    ///
    /// The position counts from the first readable byte: nothing may be consumed in between.
    @inlinable public mutating func beginFrame(_ kind: FrameKind, flags: UInt8 = 0, handle: UInt64 = 0) -> Int {
        let position = self.readableBytes
        self.writeFrameHeader(kind, flags: flags, handle: handle, bodyBytes: 0)
        return position
    }

    @inlinable public mutating func endFrame(at position: Int) {
        let bodyBytes = self.readableBytes - position - FrameHeader.byteCount
        precondition(bodyBytes >= 0 && bodyBytes <= Limits.frameBodyBytesMax, "frame body above the limit")
        self.setLittleEndian(UInt32(truncatingIfNeeded: bodyBytes), at: position)
    }

    /// A header for a body whose length is known.
    @inlinable public mutating func writeFrameHeader(
        _ kind: FrameKind,
        flags: UInt8 = 0,
        handle: UInt64,
        bodyBytes: Int
    ) {
        precondition(bodyBytes >= 0 && bodyBytes <= Limits.frameBodyBytesMax, "frame body above the limit")
        self.reserve(FrameHeader.byteCount)
        self.writeLittleEndian(UInt32(truncatingIfNeeded: bodyBytes))
        self.writeLittleEndian(UInt32(kind.rawValue) | UInt32(flags) << 8)
        self.writeLittleEndian(handle)
    }

    // Fields of frame bodies. Byte strings carry their length in 32 bits; optional ones 0xFFFFFFFF for nil.

    public mutating func writeField(_ bytes: [UInt8]) {
        self.writeLittleEndian(UInt32(truncatingIfNeeded: bytes.count))
        self.write(bytes)
    }

    public mutating func writeField(_ bytes: UnsafeRawBufferPointer) {
        self.writeLittleEndian(UInt32(truncatingIfNeeded: bytes.count))
        self.write(bytes)
    }

    public mutating func writeOptionalField(_ bytes: [UInt8]?) {
        guard let bytes else { return self.writeLittleEndian(UInt32.max) }
        self.writeField(bytes)
    }
}

extension ByteReader {
    public mutating func readFieldView() -> UnsafeRawBufferPointer? {
        guard let count = self.readLittleEndian(UInt32.self) else { return nil }
        return self.readBytes(Int(count))
    }

    public mutating func readField() -> [UInt8]? {
        self.readFieldView().map { [UInt8]($0) }
    }

    /// The outer nil says that the frame is broken, the inner one that the field is absent.
    public mutating func readOptionalField() -> [UInt8]?? {
        guard let count = self.readLittleEndian(UInt32.self) else { return nil }
        if count == UInt32.max { return .some(nil) }
        guard let bytes = self.readBytes(Int(count)) else { return nil }
        return .some([UInt8](bytes))
    }
}
