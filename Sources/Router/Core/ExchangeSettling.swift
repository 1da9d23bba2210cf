import Common

/// When listeners can forget which messages they passed on: see `RouterCore.settleExchanges`.
struct ExchangeSettling {
    /// Copies that listeners have been given since they were told last, and after how many they are told again.
    var messages = 0
    var messagesPerMark = RouterLimits.exchangesPerMark
    /// They were told at the end of this turn.
    var markTurn: UInt64 = 0
    /// Everything up to `markTurn` was answered by the end of this one; 0: not yet.
    var answeredTurn: UInt64 = 0
    /// Listeners may send again what another router passed on, or this one over a link that broke.
    private(set) var notBefore: Instant = 0
    var isAgain = true
    /// Some sessions may have `SessionExchanges.delivered`.
    var hasDelivered = false
    /// Sessions with acknowledgements behind a large packet, and some that had such.
    var controlHeld: Set<UInt32> = []

    mutating func beginAgain(after: Instant) {
        self.notBefore = max(self.notBefore, after)
        self.isAgain = true
        self.answeredTurn = 0
    }

    mutating func marked(turn: UInt64) {
        self.messages = 0
        self.markTurn = turn
        self.answeredTurn = 0
    }
}
