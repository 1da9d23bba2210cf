import Logging

/// What a role's process has from its start.
public struct RoleContext {
    public let loop: EventLoop
    public let logger: Logger
    public let configuration: Configuration
    /// `router`, `listener-2`: in logs and hellos.
    public let name: String
    /// Counts from 1.
    public let instance: Int
    public let environment: [String: String]

    public init(
        loop: EventLoop,
        logger: Logger,
        configuration: Configuration,
        name: String,
        instance: Int = 1,
        environment: [String: String] = [:]
    ) {
        self.loop = loop
        self.logger = logger
        self.configuration = configuration
        self.name = name
        self.instance = instance
        self.environment = environment
    }
}

/// A role as `RoleProcess` runs it.
public protocol Role: AnyObject {
    /// Opens sockets and files; the description of what it throws is what the operator reads.
    func start() throws
    /// Ends in an orderly way, then stops the loop. Called once.
    func stop()
    /// Asked a second time: ends without taking leave slowly.
    func stopAtOnce()
    func status() -> StatusReport
    /// SIGHUP: files that may change are read again. What else the configuration says stays as it was at the start.
    func reload(_ configuration: Configuration)
    /// Does what the tool asks for; nil: the role knows no such command.
    func perform(_ command: ControlCommand) -> ControlReply?
}

extension Role {
    public func stopAtOnce() {}
    public func reload(_ configuration: Configuration) {}
    public func perform(_ command: ControlCommand) -> ControlReply? { nil }
}
