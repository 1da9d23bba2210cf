/// One line of what a client may do. Rules are tried in order; the first that matches decides.
public struct AccessRule: Equatable, Sendable {
    public enum Permission: UInt8, Sendable {
        case deny = 0
        case allow = 1
    }

    public struct Actions: OptionSet, Equatable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        // The bits of EMQX 4's access column.
        public static let subscribe = Actions(rawValue: 1)
        public static let publish = Actions(rawValue: 2)
        public static let all: Actions = [.subscribe, .publish]
    }

    public enum RetainCondition: UInt8, Sendable {
        case any = 0
        case onlyRetained = 1
        case onlyNotRetained = 2
    }

    public var permission: Permission
    public var actions: Actions
    /// A topic filter, already rendered: no placeholders in it.
    public var filter: [UInt8]
    /// The filter is a topic name to compare byte by byte, wildcards and all (`eq ` in EMQX).
    public var isLiteral: Bool
    /// Bit n: applies to QoS n. 0b111: to all.
    public var qosMask: UInt8
    /// Looked at for PUBLISH only.
    public var retain: RetainCondition

    public init(
        permission: Permission,
        actions: Actions,
        filter: [UInt8],
        isLiteral: Bool = false,
        qosMask: UInt8 = 0b111,
        retain: RetainCondition = .any
    ) {
        self.permission = permission
        self.actions = actions
        self.filter = filter
        self.isLiteral = isLiteral
        self.qosMask = qosMask
        self.retain = retain
    }
}
