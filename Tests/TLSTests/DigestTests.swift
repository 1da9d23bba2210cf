import TLS
import TestSupport
import Testing

@Suite struct DigestTests {
    private func hex(_ bytes: [UInt8]) -> String { String(decoding: Hex.encode(bytes), as: UTF8.self) }

    /// RFC 1321, FIPS 180-4.
    @Test func knownHashes() {
        let abc = Array("abc".utf8)
        #expect(self.hex(Digest.md5(abc)) == "900150983cd24fb0d6963f7d28e17f72")
        #expect(self.hex(Digest.sha1(abc)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(self.hex(Digest.sha256(abc)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            self.hex(Digest.sha512(abc))
                == "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        )
        #expect(self.hex(Digest.sha256([])) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(self.hex(Digest.md5([])) == "d41d8cd98f00b204e9800998ecf8427e")
        #expect(Digest.Algorithm.allCases.allSatisfy { $0.isAvailable })
    }

    /// EMQX's manual has sha256("saltsecret") wrong; this is what it is.
    @Test func twoPartsAreHashedAsOne() {
        let (salt, password) = (Array("salt".utf8), Array("secret".utf8))
        #expect(self.hex(Digest.sha256(salt, password)).hasPrefix("bede90386d450cea"))
        #expect(Digest.sha256(salt, password) == Digest.sha256(salt + password))
        #expect(Digest.sha512(password, salt) == Digest.sha512(password + salt))
        #expect(Digest.sha1([], password) == Digest.sha1(password))
        #expect(Digest.md5(password, []) == Digest.md5(password))
    }

    /// RFC 4231 test cases 1, 2 and 6.
    @Test func knownHMACs() {
        #expect(
            self.hex(HMAC.sha256(key: [UInt8](repeating: 0x0b, count: 20), message: Array("Hi There".utf8)))
                == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        )
        #expect(
            self.hex(HMAC.sha256(key: Array("Jefe".utf8), message: Array("what do ya want for nothing?".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
        #expect(
            self.hex(
                HMAC.sha256(
                    key: [UInt8](repeating: 0xaa, count: 131),
                    message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)
                )
            ) == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        )
        #expect(
            self.hex(HMAC.sha256(key: [], message: []))
                == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"
        )
    }

    @Test func comparison() {
        #expect(constantTimeEquals([], []))
        #expect(constantTimeEquals([1, 2, 3], [1, 2, 3]))
        #expect(!constantTimeEquals([1, 2, 3], [1, 2, 4]))
        #expect(!constantTimeEquals([1, 2, 3], [1, 2]))
    }

    @Test func randomBytes() {
        #expect(SecureRandom.bytes(0) == [])
        #expect(SecureRandom.bytes(32).count == 32)
        #expect(SecureRandom.bytes(32) != SecureRandom.bytes(32))
    }

    @Test func hexadecimal() {
        let all = [UInt8](0...255)
        #expect(Hex.decode(Hex.encode(all)) == all)
        #expect(Hex.decode(Hex.encode(all, uppercase: true)) == all)
        #expect(Hex.encode([0x0f, 0xa0]) == Array("0fa0".utf8))
        #expect(Hex.encode([0x0f, 0xa0], uppercase: true) == Array("0FA0".utf8))
        #expect(Hex.decode(Array("0".utf8)) == nil)
        #expect(Hex.decode(Array("0g".utf8)) == nil)
        #expect(Hex.decode([]) == [])
    }

    @Test func wipingEmptiesTheArray() {
        var secret = Array("secret".utf8)
        wipe(&secret)
        #expect(secret == [])
    }
}
