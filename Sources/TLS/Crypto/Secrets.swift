import COpenSSL

/// Compares without telling by its duration where the difference is. The counts are not secret.
package func constantTimeEquals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
}

/// Overwrites the bytes in a way that the compiler does not leave out, and empties the array. Copies of the array keep theirs.
package func wipe(_ secret: inout [UInt8]) {
    secret.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
    secret = []
}

/// Random bytes for keys, salts and identifiers.
package enum SecureRandom {
    package static func bytes(_ count: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        guard count == 0 || RAND_bytes(&result, Int32(clamping: count)) == 1 else {
            MissingAlgorithm.end("random numbers")
        }
        return result
    }
}
