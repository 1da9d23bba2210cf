extension Configuration {
    /// Where the router listens for listeners.
    public var routerSocketPath: String { self.runtimeDirectory + "/router.sock" }

    /// Where auth worker `instance` (counted from 1) listens for listeners.
    public func authWorkerSocketPath(_ instance: Int) -> String {
        "\(self.runtimeDirectory)/authworker-\(instance).sock"
    }

    /// Where a role listens for the tool: `role` is `router`, `listener` or `authworker`; `instance` counts from 1.
    public func controlSocketPath(role: String, instance: Int) -> String {
        "\(self.controlDirectory)/\(role)-\(instance).sock"
    }

    /// The folder of all control sockets.
    public var controlDirectory: String { self.runtimeDirectory + "/control" }

    /// Large packets that the router has begun to send, for the next one.
    public var routerPacketsDirectory: String { self.runtimeDirectory + "/packets" }

    public var routerStoreDirectory: String { self.stateDirectory + "/router" }

    /// What the router keeps of sessions and messages.
    public var routerStorePath: String { self.routerStoreDirectory + "/store.db" }

    /// The longest path of a Unix socket (sun_path without its terminating zero).
    public static let socketPathBytesMax = 107

    /// The longest runtime directory: `/control/authworker-256.sock` must fit below it.
    public static let runtimeDirectoryBytesMax = Self.socketPathBytesMax - "/control/authworker-256.sock".utf8.count
}
