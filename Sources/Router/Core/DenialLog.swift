import Common

/// What clients' rules did not allow lately, for `martlet why` and the log. A message or filter that is refused again is counted where
/// it stands.
package struct DenialLog {
    package enum Action: Sendable {
        case publish
        case subscribe
        case will
    }

    /// One topic or filter of a client.
    package struct Denial {
        package let action: Action
        /// Cut to `topicBytesMax`.
        package let topic: [UInt8]
        package let isCut: Bool
        package let qos: QoS
        package let retain: Bool
        package let firstAt: Instant
        package internal(set) var lastAt: Instant
        package internal(set) var count: UInt64 = 1
    }

    package struct Client {
        package let identifier: [UInt8]
        /// Its certificate's common name, or else its user name, cut to `nameBytesMax`.
        package internal(set) var name: [UInt8]
        /// The one that was refused last at the end.
        package internal(set) var denials: [Denial] = []
        var loggedAt: Instant?
        var notLogged: UInt64 = 0
        /// So many in the turn that began at `turn`.
        var turn: Instant = 0
        var inTurn = 0
    }

    /// A line for the log.
    package struct Line {
        package let client: [UInt8]
        package let name: [UInt8]
        package let denial: Denial
        /// Of this client, since its last line.
        package let notLoggedBefore: UInt64
    }

    package static let clientsMax = 512
    package static let denialsPerClient = 8
    package static let topicBytesMax = 256
    package static let nameBytesMax = 128
    private static let linesMax = 20
    private static let logIntervalNanoseconds = 60 * Nanoseconds.perSecond
    /// Further ones of a client in one turn are only counted.
    private static let perTurnMax = 32

    private var clients: [[UInt8]: Client] = [:]
    /// In the order in which they came: the oldest goes.
    private var order: [[UInt8]] = []
    private var oldest = 0
    private var lines: [Line] = []

    package var hasLines: Bool { !self.lines.isEmpty }

    mutating func note(
        _ session: Session,
        _ action: Action,
        _ topic: UnsafeRawBufferPointer,
        _ qos: QoS,
        retain: Bool = false,
        now: Instant
    ) {
        let identifier = session.clientIdentifier
        if self.clients[identifier] == nil { self.add(Client(identifier: identifier, name: session.shownName)) }
        // Changed in place.
        self.clients[identifier]?.name = session.shownName
        let line = self.clients[identifier]?.note(
            action,
            topic,
            qos,
            retain,
            now,
            mayLog: self.lines.count < Self.linesMax
        )
        if let line = line ?? nil { self.lines.append(line) }
    }

    private mutating func add(_ client: Client) {
        if self.order.count < Self.clientsMax {
            self.order.append(client.identifier)
        } else {
            self.clients[self.order[self.oldest]] = nil
            self.order[self.oldest] = client.identifier
            self.oldest = (self.oldest + 1) % Self.clientsMax
        }
        self.clients[client.identifier] = client
    }

    mutating func takeLines() -> [Line] {
        defer { self.lines = [] }
        return self.lines
    }

    /// The clients with one of these names.
    package func clients(named names: [[UInt8]]) -> [Client] {
        self.clients.values.filter { names.contains($0.identifier) || (!$0.name.isEmpty && names.contains($0.name)) }
    }

    fileprivate static func isLineDue(_ loggedAt: Instant?, _ now: Instant) -> Bool {
        loggedAt.map { now &- $0 >= Self.logIntervalNanoseconds } ?? true
    }

    fileprivate static func isTurnFull(_ count: Int) -> Bool { count > Self.perTurnMax }
}

extension DenialLog.Client {
    /// - Returns: a line for the log.
    fileprivate mutating func note(
        _ action: DenialLog.Action,
        _ topic: UnsafeRawBufferPointer,
        _ qos: QoS,
        _ retain: Bool,
        _ now: Instant,
        mayLog: Bool
    ) -> DenialLog.Line? {
        if self.turn != now { (self.turn, self.inTurn) = (now, 0) }
        self.inTurn += 1
        guard !DenialLog.isTurnFull(self.inTurn) else {
            self.notLogged += 1
            return nil
        }
        let shown = UnsafeRawBufferPointer(rebasing: topic.prefix(DenialLog.topicBytesMax))
        let isCut = shown.count < topic.count
        let known = self.denials.firstIndex {
            $0.action == action && $0.qos == qos && $0.retain == retain && $0.isCut == isCut
                && $0.topic.elementsEqual(shown)
        }
        var denial = DenialLog.Denial(
            action: action,
            topic: known.map { self.denials[$0].topic } ?? Array(shown),
            isCut: isCut,
            qos: qos,
            retain: retain,
            firstAt: known.map { self.denials[$0].firstAt } ?? now,
            lastAt: now
        )
        if let known { denial.count = self.denials.remove(at: known).count &+ 1 }
        if self.denials.count >= DenialLog.denialsPerClient { self.denials.removeFirst() }
        self.denials.append(denial)
        guard mayLog, DenialLog.isLineDue(self.loggedAt, now) else {
            self.notLogged += 1
            return nil
        }
        defer { (self.loggedAt, self.notLogged) = (now, 0) }
        return DenialLog.Line(client: self.identifier, name: self.name, denial: denial, notLoggedBefore: self.notLogged)
    }
}
