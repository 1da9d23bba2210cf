import COpenSSL

/// Owner of an X509.
final class X509Certificate {
    let pointer: OpaquePointer

    /// Takes over the caller's reference.
    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_free(self.pointer)
    }

    /// SHA-256 of its public key; empty: it has none that OpenSSL can read.
    var keyDigest: [UInt8] { Self.keyDigest(self.pointer) }

    static func keyDigest(_ certificate: OpaquePointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        var count = UInt32(digest.count)
        guard X509_pubkey_digest(certificate, EVP_sha256(), &digest, &count) == 1 else { return [] }
        return digest
    }

    /// Empty where it has none.
    var subjectKeyIdentifier: [UInt8] { Self.bytes(of: X509_get0_subject_key_id(self.pointer)) }

    /// Of an ASN1_STRING; empty for none.
    static func bytes(of string: UnsafePointer<ASN1_STRING>?) -> [UInt8] {
        guard let string else { return [] }
        return [UInt8](
            UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
        )
    }

    /// Whether its public key, one on an elliptic curve, is the very object that another certificate has.
    func hasKeyObject(of other: X509Certificate) -> Bool {
        let keys = [self, other].map { EVP_PKEY_get0_EC_KEY(X509_get0_pubkey($0.pointer)) }
        return keys[0] != nil && keys[0] == keys[1]
    }
}

/// Owner of an EVP_PKEY.
final class PrivateKey {
    let pointer: OpaquePointer

    /// Takes over the caller's reference.
    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        EVP_PKEY_free(self.pointer)
    }
}

/// Owner of a memory BIO. OpenSSL overwrites its memory when it is freed, so keys may pass through it.
struct MemoryBIO: ~Copyable {
    let pointer: OpaquePointer

    init() {
        guard let pointer = BIO_new(BIO_s_mem()) else { preconditionFailure("no memory for a BIO") }
        self.pointer = pointer
    }

    init(copying bytes: [UInt8]) {
        self.init()
        let count = BIO_write(self.pointer, bytes, Int32(clamping: bytes.count))
        precondition(bytes.isEmpty || Int(count) == bytes.count, "no memory for a BIO")
    }

    deinit {
        BIO_free(self.pointer)
    }

    /// A copy of what was written and not read yet.
    var bytes: [UInt8] {
        var start: UnsafeMutablePointer<CChar>?
        let count = martlet_bio_bytes(self.pointer, &start)
        return [UInt8](UnsafeRawBufferPointer(start: start, count: max(0, count)))
    }
}
