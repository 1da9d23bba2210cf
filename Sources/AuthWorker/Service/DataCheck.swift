import AuthCache
import Common

/// Where asking Redis stands whether it still has the rows that were known.
struct DataCheck {
    private enum Answer {
        case present
        case absent
        /// The user lacks the right to ask, or the row's node is away: its return is looked at by itself.
        case nothing
    }

    /// Of Redis' process, as it said last.
    var runID: [UInt8]?
    var presentRunID: [UInt8]?
    /// Of each row of the sample; nil: it is awaited.
    private var answers: [Answer?] = []
    /// Of each row, a number of the node that has it; the same for all where there is one server.
    private var nodes: [Int] = []
    private(set) var answersAwaited = 0
    private(set) var isWhole = false
    /// Some answer says neither that a row is there nor that it is not: all are asked for again.
    private(set) var isInVain = false
    /// What stands in the way of an answer, if something does.
    private(set) var obstacle: String?
    /// Of the sample; answers about an earlier one come late and say nothing.
    private var round: UInt64 = 0
    private var askedAt: Instant = 0
    /// Since when it has not been known whether the rows are there; nil: it is.
    private(set) var since: Instant?
    var isSameServer = false
    /// Redis said that something was emptied, not which of its databases.
    var isAfterFlush = false
    var wasSuspended = false
    /// When the last suspension ended.
    var suspensionEndedAt: Instant?
    /// Denial was suspended until another worker found the rows; this one looks where it is connected to.
    var endsSuspension = false
    /// The rows that are asked for while denial is suspended, from the first look to the last: those that stay away are as many among
    /// them as among all, however many others were fetched meanwhile.
    var lost: LostRows?
    /// Of those that were not denied because of it, so many have been looked at again.
    var heldSettled: UInt64 = 0
    var timer: EventLoop.Timer?

    static let sampleMax = 200
    /// In a Redis Cluster so many for each node, as far as it goes.
    private static let nodeSampleMax = 50
    private static let clusterSampleMax = 1000
    static let runIDToken: UInt64 = 1 << 63
    static let intervalNanoseconds = Nanoseconds.perSecond
    /// An answer that has not come by then does not come.
    private static let patienceNanoseconds = 5 * Nanoseconds.perSecond

    static func isToken(_ token: UInt64) -> Bool { token >= Self.runIDToken }

    static func sampleMax(masters: Int) -> Int {
        min(max(Self.sampleMax, masters * Self.nodeSampleMax), Self.clusterSampleMax)
    }

    /// Somebody has confirmed it to another worker of the host, which told this one, or the rows are back.
    func hasJustEnded(now: Instant) -> Bool {
        self.suspensionEndedAt.map { now &- $0 < AuthLimits.confirmationNanoseconds } ?? false
    }

    /// Redis may be another one, or does not have its rows.
    mutating func isInDoubt(now: Instant) {
        if self.since == nil { self.since = now }
    }

    mutating func isSettled() {
        self.since = nil
        self.obstacle = nil
        self.endsSuspension = false
        self.isSameServer = false
    }

    /// A sample of rows is asked for now.
    ///
    /// - Parameters:
    ///   - nodes: for each row, a number of the node that has it.
    ///   - isWhole: there are no others.
    mutating func begin(nodes: [Int], isWhole: Bool, now: Instant) {
        self.round += 1
        self.isWhole = isWhole
        self.nodes = nodes
        self.answers = Array(repeating: nil, count: nodes.count)
        self.answersAwaited = nodes.count
        self.isInVain = false
        self.obstacle = nil
        self.askedAt = now
    }

    /// Each question has its own: a Redis Cluster sends them on one by one.
    func token(_ index: Int) -> UInt64 { Self.runIDToken | self.round << 16 | UInt64(index) << 2 | 1 }

    /// There is no look under way that may still bring something.
    func mayAsk(now: Instant) -> Bool {
        self.answersAwaited == 0 || now &- self.askedAt >= Self.patienceNanoseconds
    }

    private func index(_ token: UInt64) -> Int? {
        let index = Int(token >> 2 & 0x3FFF)
        guard self.answersAwaited > 0, index < self.answers.count, token == self.token(index),
            self.answers[index] == nil
        else { return nil }
        return index
    }

    /// - Returns: whether the sample is complete with it.
    mutating func answered(_ token: UInt64, _ reply: RedisReply) -> Bool {
        guard let index = self.index(token) else { return false }
        let answer: Answer
        switch reply {
        case .integer(0): answer = .absent
        case .integer: answer = .present
        case .bulk, .null, .array, .status, .error:
            answer = .nothing
            // Others come and go: CLUSTERDOWN, LOADING, BUSY.
            if let text = reply.errorText, !text.hasPrefix("NOPERM") { self.isInVain(text) }
        }
        return self.settle(index, answer)
    }

    /// - Parameter isGone: the row's node of a Redis Cluster cannot be reached, others can.
    /// - Returns: whether the sample is complete with it.
    mutating func notAnswered(_ token: UInt64, _ failure: RedisFailure, isGone: Bool) -> Bool {
        guard let index = self.index(token) else { return false }
        if !isGone { self.isInVain(failure.description) }
        return self.settle(index, .nothing)
    }

    private mutating func settle(_ index: Int, _ answer: Answer) -> Bool {
        self.answers[index] = answer
        self.answersAwaited -= 1
        return self.answersAwaited == 0
    }

    mutating func isInVain(_ obstacle: String) {
        self.isInVain = true
        self.obstacle = obstacle
    }

    /// Of the sample, as it was asked for.
    var asked: Int { self.nodes.count }

    var sample: RowSample { self.samplesOfNodes.reduce(into: RowSample()) { $0.add($1) } }

    /// By the nodes that have the rows.
    var samplesOfNodes: [RowSample] {
        var samples: [Int: RowSample] = [:]
        for (node, answer) in zip(self.nodes, self.answers) {
            switch answer {
            case .present: samples[node, default: RowSample()].count += 1
            case .absent: samples[node, default: RowSample()].add(RowSample(count: 1, absent: 1))
            case .nothing, nil: break
            }
        }
        return Array(samples.values)
    }

    /// What was asked does not count any more: Redis may have answered it before what is known now.
    mutating func abandon() {
        self.answersAwaited = 0
    }
}
