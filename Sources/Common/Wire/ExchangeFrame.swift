/// The body of a `sessionDeliver` frame with `FrameFlags.hasExchanges`.
///
/// ```
///  | exchange UInt64 | QoS 2 PUBLISH | …
/// ```
public enum ExchangeFrame {
    /// Calls `body` with each message.
    /// - Returns: false when the frame is broken; what comes before that is passed all the same.
    public static func forEach(
        _ bytes: UnsafeRawBufferPointer,
        _ body: (_ exchange: UInt64, _ packet: UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            var reader = ByteReader(rest)
            guard let exchange = reader.readLittleEndian(UInt64.self) else { return false }
            rest = reader.readRest()
            guard case .header(let header) = FixedHeader.decode(rest), header.type == .publish,
                header.packetBytes <= rest.count
            else { return false }
            body(exchange, UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes]))
            rest = UnsafeRawBufferPointer(rebasing: rest[header.packetBytes...])
        }
        return true
    }
}
