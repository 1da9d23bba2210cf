import Common

/// A program that `martlet run` keeps running.
package struct ChildProgram {
    package enum Readiness {
        /// It sends READY=1 to NOTIFY_SOCKET (sd_notify(3)).
        case notification
        /// It is asked every so often; the closure must not take long.
        case probe(() -> Bool)
    }

    /// `router`, `listener-2`: in front of its log lines and in messages.
    package var name: String
    /// Absolute path.
    package var path: String
    /// Without the program's own name.
    package var arguments: [String]
    package var stage: Int
    package var readiness: Readiness
    /// Gets the listening sockets (sd_listen_fds(3)).
    package var takesSockets: Bool

    package init(
        name: String,
        path: String,
        arguments: [String],
        stage: Int,
        readiness: Readiness = .notification,
        takesSockets: Bool = false
    ) {
        self.name = name
        self.path = path
        self.arguments = arguments
        self.stage = stage
        self.readiness = readiness
        self.takesSockets = takesSockets
    }
}
