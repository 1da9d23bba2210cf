import COpenSSL

/// Keys from passwords (RFC 8018).
package enum KeyDerivation {
    /// PBKDF2 with HMAC over a digest, named as OpenSSL does (`SHA256`). Takes as long as `iterations` say.
    /// - Returns: nil when OpenSSL here offers no such digest, or a number is out of its range.
    package static func pbkdf2(
        digest: String,
        password: UnsafeRawBufferPointer,
        salt: [UInt8],
        iterations: Int,
        byteCount: Int
    ) -> [UInt8]? {
        guard iterations > 0, byteCount > 0, let iterations = Int32(exactly: iterations),
            let byteCount = Int32(exactly: byteCount), let digest = Self.fetch(digest)
        else { return nil }
        defer { EVP_MD_free(digest) }
        var output = [UInt8](repeating: 0, count: Int(byteCount))
        let result = PKCS5_PBKDF2_HMAC(
            password.baseAddress?.assumingMemoryBound(to: CChar.self),
            Int32(clamping: password.count),
            salt,
            Int32(clamping: salt.count),
            iterations,
            digest,
            byteCount,
            &output
        )
        guard result == 1 else {
            OpenSSLLibrary.clearErrors()
            return nil
        }
        return output
    }

    /// Whether OpenSSL on this machine has it.
    package static func isAvailable(digest: String) -> Bool {
        guard let digest = Self.fetch(digest) else { return false }
        EVP_MD_free(digest)
        return true
    }

    /// MD4 is in OpenSSL's legacy provider, which is loaded by whoever needs it and by nobody else.
    private static func fetch(_ digest: String) -> OpaquePointer? {
        if let found = EVP_MD_fetch(nil, digest, nil) { return found }
        defer { OpenSSLLibrary.clearErrors() }
        guard OSSL_PROVIDER_try_load(nil, "legacy", 1) != nil else { return nil }
        return EVP_MD_fetch(nil, digest, nil)
    }
}
