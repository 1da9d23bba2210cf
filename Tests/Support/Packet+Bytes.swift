import Common

extension Packet {
    /// The packet as it goes over the wire.
    package func bytes(_ version: ProtocolVersion) -> [UInt8] {
        var buffer = ByteBuffer()
        self.encode(into: &buffer, version: version)
        return buffer.array
    }

    /// Reads exactly one packet.
    ///
    /// - Throws: a `DecodeError`; malformed, if the bytes end before the packet or go on after it.
    package static func decode(_ bytes: [UInt8], _ version: ProtocolVersion) throws(DecodeError) -> Packet {
        let result: Result<Packet, DecodeError> = bytes.withUnsafeBytes { bytes in
            switch FixedHeader.decode(bytes, version: version) {
            case .needMore: return .failure(.malformed("packet ends in its fixed header"))
            case .malformed(let error): return .failure(error)
            case .header(let header):
                do throws(DecodeError) {
                    return .success(try Packet.decode(bytes, header: header, version: version))
                } catch {
                    return .failure(error)
                }
            }
        }
        return try result.get()
    }
}
