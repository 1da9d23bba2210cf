import Common

/// What a client's first message tells before anything is spent on it (RFC 8446, section 4.1.2).
enum ClientHello {
    private static let sessionTicketExtension: UInt16 = 35
    private static let preSharedKeyExtension: UInt16 = 41
    /// Of a record (RFC 8446, section 5.1).
    private static let headerBytes = 5
    private static let recordBytesMax = 1 << 14

    /// The session ticket that a ClientHello shows: the first identity of "pre_shared_key" in TLS 1.3, "session_ticket" (RFC 5077)
    /// before. Nil when it shows none, or the bytes are not a whole ClientHello in one record.
    static func ticket(in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var record = ByteReader(bytes)
        guard record.readUInt8() == 22, record.readBytes(2) != nil, let recordBytes = record.readBigEndian(UInt16.self),
            let fragment = record.readBytes(Int(recordBytes))
        else { return nil }
        var handshake = ByteReader(fragment)
        guard handshake.readUInt8() == 1, let high = handshake.readUInt8(),
            let low = handshake.readBigEndian(UInt16.self),
            let body = handshake.readBytes(Int(high) << 16 | Int(low))
        else { return nil }
        var hello = ByteReader(body)
        // Version and random; session id; cipher suites; compression methods.
        guard hello.readBytes(34) != nil, let sessionID = hello.readUInt8(), hello.readBytes(Int(sessionID)) != nil,
            let suites = hello.readBigEndian(UInt16.self), hello.readBytes(Int(suites)) != nil,
            let methods = hello.readUInt8(), hello.readBytes(Int(methods)) != nil,
            let extensionBytes = hello.readBigEndian(UInt16.self),
            let extensions = hello.readBytes(Int(extensionBytes))
        else { return nil }
        return Self.ticket(inExtensions: extensions)
    }

    /// How long a client's first record is, as far as its beginning tells: more than there are bytes when some are missing. Of what is
    /// no TLS the header is waited for, by which OpenSSL sees that.
    static func firstRecordBytes(_ bytes: UnsafeRawBufferPointer) -> Int {
        var record = ByteReader(bytes)
        guard record.readUInt8() == 22, record.readUInt8() == 3, record.readUInt8() != nil,
            let length = record.readBigEndian(UInt16.self), length <= self.recordBytesMax
        else { return self.headerBytes }
        return self.headerBytes + Int(length)
    }

    private static func ticket(inExtensions bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var found: UnsafeRawBufferPointer?
        var reader = ByteReader(bytes)
        while !reader.isAtEnd {
            guard let type = reader.readBigEndian(UInt16.self), let count = reader.readBigEndian(UInt16.self),
                let value = reader.readBytes(Int(count))
            else { return nil }
            switch type {
            case Self.sessionTicketExtension where value.count > 0:
                found = value
            case Self.preSharedKeyExtension:
                var offered = ByteReader(value)
                guard offered.readBigEndian(UInt16.self) != nil,
                    let identityBytes = offered.readBigEndian(UInt16.self),
                    let identity = offered.readBytes(Int(identityBytes))
                else { return nil }
                found = identity
            default: break
            }
        }
        return found
    }
}
