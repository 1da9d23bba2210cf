import COpenSSL

/// The DER encoding of OpenSSL's objects.
enum DER {
    static func encode(_ name: OpaquePointer?) -> [UInt8] {
        Self.encode { i2d_X509_NAME(name, $0) }
    }

    static func encode(_ number: UnsafePointer<ASN1_INTEGER>?) -> [UInt8] {
        Self.encode { i2d_ASN1_INTEGER(number, $0) }
    }

    private static func encode(_ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32) -> [UInt8] {
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = write(&bytes)
        guard count > 0, let pointer = bytes else { return [] }
        defer { martlet_openssl_free(pointer) }
        return [UInt8](UnsafeBufferPointer(start: pointer, count: Int(count)))
    }
}
