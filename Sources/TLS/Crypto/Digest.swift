import COpenSSL

/// Hashes of bytes.
///
/// The two-part forms hash `first` followed by `second` without joining them: salt and password, in either order.
package enum Digest {
    package enum Algorithm: Sendable, CaseIterable {
        case md5
        case sha1
        case sha256
        case sha512

        package var byteCount: Int {
            switch self {
            case .md5: 16
            case .sha1: 20
            case .sha256: 32
            case .sha512: 64
            }
        }

        private var name: String {
            switch self {
            case .md5: "MD5"
            case .sha1: "SHA-1"
            case .sha256: "SHA-256"
            case .sha512: "SHA-512"
            }
        }

        /// MD5 may be missing where OpenSSL runs in FIPS mode. Look before you hash with it.
        package var isAvailable: Bool { self.fetched.pointer != nil }

        fileprivate var fetched: Fetched {
            switch self {
            case .md5: Fetched.md5
            case .sha1: Fetched.sha1
            case .sha256: Fetched.sha256
            case .sha512: Fetched.sha512
            }
        }

        /// The EVP_MD.
        var implementation: OpaquePointer {
            guard let pointer = self.fetched.pointer else { MissingAlgorithm.end(self.name) }
            return pointer
        }
    }

    package static func sha256(_ bytes: [UInt8]) -> [UInt8] { Self.hash(.sha256, bytes) }
    package static func sha512(_ bytes: [UInt8]) -> [UInt8] { Self.hash(.sha512, bytes) }
    package static func sha1(_ bytes: [UInt8]) -> [UInt8] { Self.hash(.sha1, bytes) }
    package static func md5(_ bytes: [UInt8]) -> [UInt8] { Self.hash(.md5, bytes) }

    package static func sha256(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] { Self.hash(.sha256, first, second) }
    package static func sha512(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] { Self.hash(.sha512, first, second) }
    package static func sha1(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] { Self.hash(.sha1, first, second) }
    package static func md5(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] { Self.hash(.md5, first, second) }

    package static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        Self.hash(.sha256, bytes, UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// `algorithm` of `first` followed by `second`.
    package static func hash(_ algorithm: Algorithm, _ first: [UInt8], _ second: [UInt8] = []) -> [UInt8] {
        first.withUnsafeBytes { first in
            second.withUnsafeBytes { second in Self.hash(algorithm, first, second) }
        }
    }

    /// `algorithm` of `first` followed by `second`.
    package static func hash(
        _ algorithm: Algorithm,
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        return [UInt8](unsafeUninitializedCapacity: algorithm.byteCount) { output, count in
            guard EVP_DigestInit_ex(context, algorithm.implementation, nil) == 1,
                EVP_DigestUpdate(context, first.baseAddress, first.count) == 1,
                EVP_DigestUpdate(context, second.baseAddress, second.count) == 1,
                EVP_DigestFinal_ex(context, output.baseAddress, nil) == 1
            else { preconditionFailure("OpenSSL has no memory to hash") }
            count = algorithm.byteCount
        }
    }

    /// An EVP_MD, fetched once: EVP_sha256() looks its implementation up at each use.
    fileprivate struct Fetched: @unchecked Sendable {
        // Sendable: an EVP_MD does not change.
        let pointer: OpaquePointer?

        private init(_ name: String) {
            self.pointer = EVP_MD_fetch(nil, name, nil)
            OpenSSLLibrary.clearErrors()
        }

        static let md5 = Fetched("MD5")
        static let sha1 = Fetched("SHA1")
        static let sha256 = Fetched("SHA256")
        static let sha512 = Fetched("SHA512")
    }
}
