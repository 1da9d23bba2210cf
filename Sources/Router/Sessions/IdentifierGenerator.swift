/// Random letters and digits for client identifiers that the broker assigns.
struct IdentifierGenerator {
    private var generator: SplitMix64

    init(seed: UInt64) {
        self.generator = SplitMix64(state: seed)
    }

    /// `auto-` and 20 characters: 100 bits, so that none comes twice.
    mutating func next() -> [UInt8] {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
        var result = Array("auto-".utf8)
        for _ in 0..<2 {
            var mixed = self.generator.next()
            for _ in 0..<10 {
                result.append(alphabet[Int(mixed & 31)])
                mixed >>= 5
            }
        }
        return result
    }
}
