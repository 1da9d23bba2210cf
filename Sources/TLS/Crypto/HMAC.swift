import COpenSSL

/// Keyed hashes (RFC 2104).
package enum HMAC {
    /// 32 bytes.
    package static func sha256(key: [UInt8], message: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 0
        // A nil key would mean "the key of the last call".
        let empty: [UInt8] = [0]
        let result = COpenSSL.HMAC(
            Digest.Algorithm.sha256.implementation,
            key.isEmpty ? empty : key,
            Int32(clamping: key.count),
            message,
            message.count,
            &output,
            &count
        )
        guard result != nil else { preconditionFailure("OpenSSL has no memory to hash") }
        return output
    }
}
