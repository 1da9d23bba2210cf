import Glibc
import Logging

/// Writes one line per event to stderr: time, level, process, message, then `key=value` for each field in order of their names.
///
/// ```
/// 2026-11-23T18:03:36.123Z notice  listener-1 connection refused address=192.0.2.7:40112 reason=certificate-expired
/// ```
///
/// Values with spaces, quotes or characters that hide something are quoted and escaped: a line is a line whatever a client sends.
public struct StandardErrorLogHandler: LogHandler {
    public var logLevel: Logger.Level {
        get { self.ownLevel ?? Self.level.value }
        set { self.ownLevel = newValue }
    }
    /// Of this logger alone.
    private var ownLevel: Logger.Level?
    private static let level = SharedLogLevel()
    public var metadata: Logger.Metadata = [:]
    private let process: String

    public init(process: String, level: Logger.Level) {
        self.process = process
        self.ownLevel = level
    }

    private init(process: String) {
        self.process = process
    }

    /// From now on, for all loggers of the process.
    public static func setLevel(_ level: Logger.Level) {
        Self.level.value = level
    }

    /// To be called once, before the first logger is made.
    public static func bootstrap(process: String, level: Logger.Level) {
        Self.setLevel(level)
        LoggingSystem.bootstrap { _ in StandardErrorLogHandler(process: process) }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        // One write per line: lines of several processes on one stderr do not mix.
        let bytes = Array(self.line(for: event, wallNanoseconds: Clock.wall()).utf8)
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// The event as text, with the end of the line.
    func line(for event: LogEvent, wallNanoseconds: UInt64) -> String {
        let level = event.level.rawValue
        var line = Self.timestamp(nanoseconds: wallNanoseconds) + " " + level
        line += String(repeating: " ", count: max(1, 8 - level.utf8.count))
        line += self.process + " " + ReadableText.escaped(event.message.description)
        let fields = event.metadata.map { self.metadata.merging($0) { $1 } } ?? self.metadata
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
            line += " \(name)=\(Self.quoted(value.description))"
        }
        if let error = event.error { line += " error=\(Self.quoted("\(error)"))" }
        return line + "\n"
    }

    /// RFC 3339, in UTC, to the millisecond.
    public static func timestamp(nanoseconds: UInt64) -> String {
        var seconds = time_t(nanoseconds / Nanoseconds.perSecond)
        var fields = tm()
        gmtime_r(&seconds, &fields)
        func padded(_ value: Int32, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = "\(fields.tm_year + 1900)-\(padded(fields.tm_mon + 1, 2))-\(padded(fields.tm_mday, 2))"
        let time = "\(padded(fields.tm_hour, 2)):\(padded(fields.tm_min, 2)):\(padded(fields.tm_sec, 2))"
        let milliseconds = Int32(nanoseconds % Nanoseconds.perSecond / Nanoseconds.perMillisecond)
        return "\(date)T\(time).\(padded(milliseconds, 3))Z"
    }

    static func quoted(_ value: String) -> String {
        let isPlain = value.unicodeScalars.allSatisfy { scalar in
            scalar.value > 0x20 && scalar.value < 0x7F && scalar != "\"" && scalar != "=" && scalar != "\\"
        }
        if isPlain && !value.isEmpty { return value }
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            default: text += ReadableText.escaped(String(scalar))
            }
        }
        return text + "\""
    }
}

/// Sendable: a single word under a lock.
private final class SharedLogLevel: @unchecked Sendable {
    private let monitor = Monitor()
    private var level = Logger.Level.info

    var value: Logger.Level {
        get { self.monitor.locked { self.level } }
        set { self.monitor.locked { self.level = newValue } }
    }
}
