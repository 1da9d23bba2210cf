import Logging
import Synchronization

/// Keeps what is logged, without the fields.
final class RecordedMessages: LogHandler {
    private let storage = Mutex<[String]>([])

    var messages: [String] { self.storage.withLock { $0 } }

    var logLevel: Logger.Level {
        get { .debug }
        set {}
    }

    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    func log(event: LogEvent) {
        self.storage.withLock { $0.append(event.message.description) }
    }
}
