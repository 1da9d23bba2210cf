import Common

/// Whether a listener has to do without its router, or without any auth worker, for longer than a restart takes: then nobody is let in,
/// and somebody has to be told.
struct PeerAbsence {
    enum Change: Equatable {
        case none
        /// Said once.
        case began
        case ended
    }

    /// How often it is looked.
    static let periodNanoseconds = Nanoseconds.perSecond
    /// So many looks in a row, and not a length of time: while this process itself stands still nobody is away.
    static let looks = 4

    private var looksInVain = 0
    private(set) var isAway = false

    /// To be called each period.
    mutating func look(isThere: Bool) -> Change {
        guard !isThere else {
            self.looksInVain = 0
            defer { self.isAway = false }
            return self.isAway ? .ended : .none
        }
        guard !self.isAway else { return .none }
        self.looksInVain += 1
        guard self.looksInVain >= Self.looks else { return .none }
        self.isAway = true
        return .began
    }
}
