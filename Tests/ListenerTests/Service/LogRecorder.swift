import Logging
import Synchronization

/// Keeps log lines as message and fields.
final class LogRecorder: Sendable {
    struct Line: Sendable {
        var message: String
        var fields: [String: String]
    }

    private let storage = Mutex<[Line]>([])

    var lines: [Line] { self.storage.withLock { $0 } }

    /// The fields of each refused connection.
    var refusals: [[String: String]] { self.lines.filter { $0.message == "connection refused" }.map(\.fields) }

    func makeLogger() -> Logger {
        var logger = Logger(label: "listener-1") { _ in Handler(recorder: self) }
        logger.logLevel = .debug
        return logger
    }

    private struct Handler: LogHandler {
        var logLevel = Logger.Level.debug
        var metadata: Logger.Metadata = [:]
        let recorder: LogRecorder

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).mapValues(\.description)
            let line = Line(message: event.message.description, fields: fields)
            self.recorder.storage.withLock { $0.append(line) }
        }
    }
}
