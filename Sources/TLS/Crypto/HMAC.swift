import COpenSSL

/// HMAC-SHA-256 (RFC 2104) under one key, which is worked into the hash's state once: a code costs the hashing of its message and one
/// block more. OpenSSL's HMAC() looks up and builds all of it for each code, which takes five times as long as the hashing.
package struct HMACKey: Sendable {
    package static let codeBytes = 32
    private static let blockBytes = 64

    // Of the key's two pads, hashed.
    private let inner: SHA256_CTX
    private let outer: SHA256_CTX

    package init(_ key: [UInt8]) {
        var block = key.count > Self.blockBytes ? Digest.sha256(key) : key
        block += [UInt8](repeating: 0, count: Self.blockBytes - block.count)
        defer { wipe(&block) }
        self.inner = Self.state(after: block, pad: 0x36)
        self.outer = Self.state(after: block, pad: 0x5C)
    }

    private static func state(after block: [UInt8], pad: UInt8) -> SHA256_CTX {
        var padded = block.map { $0 ^ pad }
        defer { wipe(&padded) }
        var state = SHA256_CTX()
        SHA256_Init(&state)
        SHA256_Update(&state, padded, padded.count)
        return state
    }

    package func code(of message: [UInt8]) -> [UInt8] {
        var whole = self.begin()
        whole.add(message)
        return whole.code()
    }

    /// A message that comes in pieces, none of which is copied.
    package func begin() -> Message { Message(inner: self.inner, outer: self.outer) }

    package struct Message: ~Copyable {
        private var inner: SHA256_CTX
        private var outer: SHA256_CTX

        fileprivate init(inner: SHA256_CTX, outer: SHA256_CTX) {
            self.inner = inner
            self.outer = outer
        }

        package mutating func add(_ bytes: UnsafeRawBufferPointer) {
            SHA256_Update(&self.inner, bytes.baseAddress, bytes.count)
        }

        package mutating func add(_ bytes: [UInt8]) {
            SHA256_Update(&self.inner, bytes, bytes.count)
        }

        package mutating func add(_ text: StaticString) {
            SHA256_Update(&self.inner, text.utf8Start, text.utf8CodeUnitCount)
        }

        /// The code's first `count` bytes, of `codeBytes`; to be asked for once.
        package mutating func code(_ count: Int = HMACKey.codeBytes) -> [UInt8] {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HMACKey.codeBytes) { digest in
                SHA256_Final(digest.baseAddress, &self.inner)
                SHA256_Update(&self.outer, digest.baseAddress, HMACKey.codeBytes)
                SHA256_Final(digest.baseAddress, &self.outer)
                return [UInt8](digest.prefix(count))
            }
        }
    }
}

/// Keyed hashes (RFC 2104).
package enum HMAC {
    /// 32 bytes; for many codes under one key see `HMACKey`.
    package static func sha256(key: [UInt8], message: [UInt8]) -> [UInt8] {
        HMACKey(key).code(of: message)
    }
}
