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

    /// Of `KB`, `K`, `kb`, `Mi` and the like; what is no size at all (`5minutes`) gets none.
    private static func hint(_ unit: String, _ digits: String) -> String {
        // Others than ASCII's would become some of these.
        guard unit.utf8.allSatisfy({ $0 < 0x80 }) else { return "" }
        let letters = unit.lowercased()
        let meant = Self.units.first { known in
            let name = known.name.lowercased()
            return known.bytes > 1
                && [name, "\(name.prefix(1))b", "\(name.prefix(1))", "\(name.prefix(2))"].contains(letters)
        }
        return meant.map { "; write \(digits)\($0.name)" } ?? ""
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
