import Common
import TestSupport
import Testing

@Suite struct MQTTTextTests {
    private func isValid(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { MQTTText.isValid($0) } }

    @Test("Ill-formed strings are refused ([MQTT-1.5.4-1], [MQTT-1.5.4-2])")
    func examples() {
        #expect(self.isValid([]))
        #expect(self.isValid(Array("Grüße, 世界 🐦".utf8)))
        // U+FEFF is nothing special ([MQTT-1.5.4-3]).
        #expect(self.isValid([0xEF, 0xBB, 0xBF, 0x61]))
        for scalar in [0x01, 0x1F, 0x7F, 0x80, 0x9F, 0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF] as [UInt32] {
            let bytes = Array(String(Unicode.Scalar(scalar).map(Character.init) ?? "a").utf8)
            #expect(!self.isValid(bytes), "U+\(String(scalar, radix: 16))")
            #expect(
                !self.isValid(Array("padding ".utf8) + bytes + Array(" padding".utf8)),
                "U+\(String(scalar, radix: 16))"
            )
        }
        for scalar in [0x20, 0x7E, 0xA0, 0xFDCF, 0xFDF0, 0xFFFD, 0x2FFD, 0x10FFFD] as [UInt32] {
            #expect(self.isValid(Array(String(Unicode.Scalar(scalar).map(Character.init) ?? "\0").utf8)))
        }
        #expect(!self.isValid([0x61, 0x00]))
        #expect(!self.isValid([0xED, 0xA0, 0x80]), "surrogate")
        #expect(!self.isValid([0xC0, 0x80]), "overlong NUL")
        #expect(!self.isValid([0xE0, 0x80, 0xAF]), "overlong slash")
        #expect(!self.isValid([0xF4, 0x90, 0x80, 0x80]), "beyond U+10FFFF")
        #expect(!self.isValid([0xE4, 0xB8]), "cut short")
        #expect([0x61, 0x00].withUnsafeBytes { MQTTText.isUTF8($0) })
    }

    /// What the standard wants nobody to send (section 1.5.4).
    private func isUnwanted(_ scalar: Unicode.Scalar) -> Bool {
        let value = scalar.value
        return value < 0x20 || (0x7F...0x9F).contains(value) || (0xFDD0...0xFDEF).contains(value)
            || value & 0xFFFE == 0xFFFE
    }

    @Test("Random bytes are judged as String(validating:) does, except for control and non-characters")
    func oracle() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        let interesting: [UInt8] = [0x00, 0x7F, 0x80, 0xBF, 0xC2, 0xE0, 0xA0, 0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F, 0xFF]
        for round in 0..<50_000 {
            var bytes: [UInt8] = Array("plain text ".utf8.prefix(Int.random(in: 0...11, using: &random)))
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.append(interesting.randomElement(using: &random) ?? 0)
                case 1: bytes.append(UInt8.random(in: 0...255, using: &random))
                case 2:
                    let scalar = Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &random)) ?? "a"
                    bytes += Array(String(scalar).utf8)
                default: bytes += Array("ASCII text".utf8)
                }
            }
            let text = String(validating: bytes, as: UTF8.self)
            let expected = text != nil
            let isClean = text?.unicodeScalars.contains(where: self.isUnwanted) == false
            let judged = bytes.withUnsafeBytes { (MQTTText.isValid($0), MQTTText.isUTF8($0)) }
            if judged != (isClean, expected) {
                Issue.record("seed \(seed), round \(round): \(bytes) judged \(judged)")
            }
        }
    }
}
