extension Configuration {
    /// Where the router listens for listeners.
    package var routerSocketPath: String { self.runtimeDirectory + "/router.sock" }

    /// Where auth worker `instance` (counted from 1) listens for listeners.
    package func authWorkerSocketPath(_ instance: Int) -> String {
        "\(self.runtimeDirectory)/authworker-\(instance).sock"
    }

    /// Where a role listens for the tool: `role` is `router`, `listener` or `authworker`; `instance` counts from 1.
    package func controlSocketPath(role: String, instance: Int) -> String {
        "\(self.controlDirectory)/\(role)-\(instance).sock"
    }

    /// The folder of all control sockets.
    package var controlDirectory: String { self.runtimeDirectory + "/control" }

    package var routerStoreDirectory: String { self.stateDirectory + "/router" }

    /// What the router keeps of sessions and messages.
    package var routerStorePath: String { self.routerStoreDirectory + "/store.db" }

    /// The longest path of a Unix socket (sun_path without its terminating zero).
    package static let socketPathBytesMax = 107

    /// The longest runtime directory: `/control/authworker-256.sock` must fit below it.
    package static let runtimeDirectoryBytesMax = Self.socketPathBytesMax - "/control/authworker-256.sock".utf8.count
}
