import Glibc
import Synchronization

/// The first SIGINT or SIGTERM is noted; a second one of the same kind does what it does by default.
struct Interruption {
    /// Set by a handler, which may do little else (signal-safety(7)).
    private static let came = Atomic(false)

    init() {
        for number in [SIGINT, SIGTERM] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in Interruption.came.store(true, ordering: .relaxed) }
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND))
            sigaction(number, &action, nil)
        }
    }

    var hasCome: Bool { Self.came.load(ordering: .relaxed) }
}
