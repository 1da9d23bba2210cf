/// Sizes as the configuration writes them: a whole number and `B`, `KiB`, `MiB` or `GiB`.
public enum SizeText {
    private static let units: [(name: String, bytes: UInt64)] = [
        ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1),
    ]
    /// 1 EiB: keeps sums far from overflow.
    public static let bytesMax: UInt64 = 1 << 60

    public static func parse(_ text: String) throws(ValueError) -> Int {
        let (digits, unit) = NumberText.split(text)
        guard let number = NumberText.parse(digits) else {
            throw ValueError(
                "\"\(ConfigurationText.shown(text))\" is not a size; write a whole number and B, KiB, MiB or GiB, such as 1MiB"
            )
        }
        if unit.isEmpty {
            throw ValueError("\"\(ConfigurationText.shown(text))\" has no unit; for bytes write \(digits)B")
        }
        guard let known = Self.units.first(where: { $0.name.hasSameBytes(as: unit) }) else {
            throw ValueError(
                "\"\(ConfigurationText.shown(text))\" has an unknown unit; use B, KiB, MiB or GiB\(Self.hint(unit, digits))"
            )
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: known.bytes)
        guard !overflow, bytes <= Self.bytesMax else {
            throw ValueError("\"\(ConfigurationText.shown(text))\" is more than 1073741824GiB, the most there is")
        }
        return Int(bytes)
    }

    /// `KB`, `K`, `kb`, `Mi` and the like.
    private static func hint(_ unit: String, _ digits: String) -> String {
        switch unit.utf8.first.map({ $0 | 0x20 }) {
        case UInt8(ascii: "k"): return "; write \(digits)KiB"
        case UInt8(ascii: "m"): return "; write \(digits)MiB"
        case UInt8(ascii: "g"): return "; write \(digits)GiB"
        default: return ""
        }
    }

    /// In the largest unit that gives a whole number.
    public static func describe(bytes: Int) -> String {
        guard bytes > 0 else { return "\(bytes)B" }
        for unit in Self.units where UInt64(bytes).isMultiple(of: unit.bytes) {
            return "\(UInt64(bytes) / unit.bytes)\(unit.name)"
        }
        return "\(bytes)B"
    }
}
