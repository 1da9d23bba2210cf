import Glibc

/// Dates for messages.
enum DateText {
    /// "2026-09-01 12:00:00 UTC" for seconds since 1970.
    static func utc(_ seconds: Int64) -> String {
        var value = time_t(seconds)
        var fields = tm()
        var buffer = [CChar](repeating: 0, count: 64)
        guard gmtime_r(&value, &fields) != nil,
            strftime(&buffer, buffer.count, "%Y-%m-%d %H:%M:%S UTC", &fields) > 0
        else { return "second \(seconds)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
