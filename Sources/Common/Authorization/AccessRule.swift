/// One line of what a client may do. Rules are tried in order; the first that matches decides.
package struct AccessRule: Equatable, Sendable {
    package enum Permission: UInt8, Sendable {
        case deny = 0
        case allow = 1
    }

    package struct Actions: OptionSet, Equatable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        // The bits of EMQX 4's access column.
        package static let subscribe = Actions(rawValue: 1)
        package static let publish = Actions(rawValue: 2)
        package static let all: Actions = [.subscribe, .publish]
    }

    package enum RetainCondition: UInt8, Sendable {
        case any = 0
        case onlyRetained = 1
        case onlyNotRetained = 2
    }

    package var permission: Permission
    package var actions: Actions
    /// A topic filter, already rendered: no placeholders in it.
    package var filter: [UInt8]
    /// The filter is a topic name to compare byte by byte, wildcards and all (`eq ` in EMQX).
    package var isLiteral: Bool
    /// Bit n: applies to QoS n. 0b111: to all.
    package var qosMask: UInt8
    /// Looked at for PUBLISH only.
    package var retain: RetainCondition

    package init(
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
