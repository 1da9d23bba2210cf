/// The body of a `sessionDeliver` frame with `FrameFlags.hasExchanges`.
///
/// ```
///  | exchange UInt64 | QoS 2 PUBLISH | …
/// ```
public struct ExchangeFrame {
    public struct Message {
        public var exchange: UInt64
        public var header: FixedHeader
        public var packet: UnsafeRawBufferPointer
    }

    private var rest: UnsafeRawBufferPointer
    /// What comes after the last message is none.
    public private(set) var isBroken = false

    public init(_ bytes: UnsafeRawBufferPointer) {
        self.rest = bytes
    }

    /// - Returns: nil behind the last message, and where the frame is broken.
    public mutating func next() -> Message? {
        guard !self.rest.isEmpty, !self.isBroken else { return nil }
        var reader = ByteReader(self.rest)
        guard let exchange = reader.readLittleEndian(UInt64.self) else { return self.broken() }
        let rest = reader.readRest()
        guard case .header(let header) = FixedHeader.decode(rest), header.type == .publish,
            header.packetBytes <= rest.count
        else { return self.broken() }
        self.rest = UnsafeRawBufferPointer(rebasing: rest[header.packetBytes...])
        let packet = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
        return Message(exchange: exchange, header: header, packet: packet)
    }

    /// Of the messages that are not taken yet, without what they are called.
    public var packetBytes: Int {
        var rest = self
        var bytes = 0
        while let message = rest.next() { bytes += message.packet.count }
        return bytes
    }

    private mutating func broken() -> Message? {
        self.isBroken = true
        return nil
    }
}
