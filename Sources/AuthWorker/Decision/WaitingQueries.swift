import Common

/// Queries that are not decided yet. Of a turn no more are decided than leave it short: first those of clients that want to come in, then
/// some about live sessions, which nobody waits for, and of these no more than have room at Redis. So a change of many rows is worked off
/// as fast as the worker can, and whoever comes meanwhile is answered in between.
package struct WaitingQueries {
    package typealias Query = (query: AuthQuery, request: Authenticator.Request)

    /// Of each kind; further ones are refused.
    private let countMax: Int
    /// Commands in the background that Redis has to answer before more are asked.
    private let backgroundMax: Int
    private var ofClients = FirstInFirstOut<Query>()
    private var ofLiveSessions = FirstInFirstOut<Query>()

    package init(countMax: Int, backgroundMax: Int) {
        self.countMax = countMax
        self.backgroundMax = backgroundMax
    }

    package var count: Int { self.ofClients.count + self.ofLiveSessions.count }

    /// Returns false when too many wait.
    package mutating func append(_ query: AuthQuery, _ request: Authenticator.Request) -> Bool {
        if query.revalidatedTag == nil {
            guard self.ofClients.count < self.countMax else { return false }
            self.ofClients.append((query, request))
        } else {
            guard self.ofLiveSessions.count < self.countMax else { return false }
            self.ofLiveSessions.append((query, request))
        }
        return true
    }

    /// There is something to decide without a new event.
    package func isDue(commandsInBackground: Int) -> Bool {
        !self.ofClients.isEmpty || !self.ofLiveSessions.isEmpty && commandsInBackground < self.backgroundMax
    }

    /// Those of one turn, in the order in which they are to be decided.
    ///
    /// - Parameter commandsInBackground: that Redis has not answered.
    package mutating func takeTurn(commandsInBackground: Int) -> [Query] {
        guard self.isDue(commandsInBackground: commandsInBackground) else { return [] }
        var taken: [Query] = []
        while taken.count < AuthLimits.queriesPerTurn, let query = self.ofClients.popFirst() { taken.append(query) }
        let room = min(AuthLimits.backgroundPerTurn, self.backgroundMax - commandsInBackground)
        for _ in 0..<max(0, room) {
            guard let query = self.ofLiveSessions.popFirst() else { break }
            taken.append(query)
        }
        return taken
    }
}
