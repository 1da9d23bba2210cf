/// Durations as the configuration writes them: a whole number and `ms`, `s`, `min`, `h` or `d`.
public enum DurationText {
    private static let units: [(name: String, nanoseconds: UInt64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000), ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ]
    /// 100 years: keeps sums with any clock far from overflow.
    public static let nanosecondsMax: UInt64 = 36_500 * 86_400_000_000_000

    public static func parse(_ text: String) throws(ValueError) -> UInt64 {
        let (digits, unit) = NumberText.split(text)
        guard let number = NumberText.parse(digits) else {
            throw ValueError(
                "\"\(ConfigurationText.shown(text))\" is not a duration; write a whole number and ms, s, min, h or d, such as 15s"
            )
        }
        if unit.isEmpty {
            throw ValueError("\"\(ConfigurationText.shown(text))\" has no unit; for seconds write \(digits)s")
        }
        guard let known = Self.units.first(where: { $0.name.hasSameBytes(as: unit) }) else {
            let hint = unit == "m" ? "; for minutes write \(digits)min" : ""
            throw ValueError(
                "\"\(ConfigurationText.shown(text))\" has an unknown unit; use ms, s, min, h or d\(hint)"
            )
        }
        let (nanoseconds, overflow) = number.multipliedReportingOverflow(by: known.nanoseconds)
        guard !overflow, nanoseconds <= Self.nanosecondsMax else {
            throw ValueError("\"\(ConfigurationText.shown(text))\" is longer than 36500d, the longest there is")
        }
        return nanoseconds
    }

    /// In the largest unit that gives a whole number.
    public static func describe(nanoseconds: UInt64) -> String {
        if nanoseconds == 0 { return "0s" }
        for unit in Self.units where nanoseconds.isMultiple(of: unit.nanoseconds) {
            return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
        }
        return "\(nanoseconds)ns"
    }
}

/// Digits at the start of a text, read without trapping.
enum NumberText {
    /// Digits, and what follows them (spaces between are dropped).
    static func split(_ text: String) -> (digits: String, rest: String) {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let rest = text.utf8.dropFirst(digits.count).drop { $0 == UInt8(ascii: " ") }
        return (String(decoding: digits, as: UTF8.self), String(decoding: rest, as: UTF8.self))
    }

    /// Nil unless it is all digits and fits.
    static func parse(_ digits: String) -> UInt64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return UInt64(digits)
    }
}
