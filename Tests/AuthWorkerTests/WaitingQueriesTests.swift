import AuthWorker
import Common
import Testing

@Suite struct WaitingQueriesTests {
    private func client(_ number: Int) -> AuthQuery { .device("new-\(number)", password: "p") }

    private func live(_ number: Int) -> AuthQuery {
        var query = AuthQuery.device("live-\(number)", password: nil)
        query.revalidatedTag = [1]
        return query
    }

    /// Of a change of many rows, that a new client comes behind.
    private func waiting(live: Int, clients: Int, countMax: Int = 100_000, backgroundMax: Int = 250) -> WaitingQueries {
        var waiting = WaitingQueries(countMax: countMax, backgroundMax: backgroundMax)
        for number in 0..<live {
            let isTaken = waiting.append(self.live(number), .init(link: 1, handle: UInt64(number)))
            #expect(isTaken)
        }
        for number in 0..<clients {
            let isTaken = waiting.append(self.client(number), .init(link: 1, handle: UInt64(1_000_000 + number)))
            #expect(isTaken)
        }
        return waiting
    }

    @Test("a client that comes while thousands of rows have changed is decided about in the next turn")
    func clientsFirst() {
        var waiting = self.waiting(live: 14_000, clients: 1)
        let turn = waiting.takeTurn(commandsInBackground: 0)
        #expect(turn.first?.query == self.client(0))
        #expect(turn.count == 1 + AuthLimits.backgroundPerTurn)
        #expect(turn.dropFirst().map(\.request.handle) == Array(0..<UInt64(AuthLimits.backgroundPerTurn)))
        #expect(waiting.count == 14_000 - AuthLimits.backgroundPerTurn)
    }

    @Test("live sessions are asked about no faster than Redis answers")
    func room() {
        var waiting = self.waiting(live: 100, clients: 0)
        #expect(waiting.takeTurn(commandsInBackground: 240).count == 10)
        #expect(!waiting.isDue(commandsInBackground: 250))
        #expect(waiting.takeTurn(commandsInBackground: 300).isEmpty)
        #expect(waiting.isDue(commandsInBackground: 249))
    }

    @Test("live sessions have their turn though clients come and come")
    func share() {
        var waiting = self.waiting(live: 100, clients: 10_000)
        let turns = (0..<2).map { _ in waiting.takeTurn(commandsInBackground: 0) }
        #expect(turns.allSatisfy { $0.count { $0.query.revalidatedTag == nil } == AuthLimits.queriesPerTurn })
        #expect(turns.joined().count { $0.query.revalidatedTag != nil } == 100)
        #expect(waiting.isDue(commandsInBackground: 250), "the other clients need no event")
    }

    @Test("of each kind only so many wait")
    func bounds() {
        var waiting = self.waiting(live: 3, clients: 2, countMax: 3)
        let request = Authenticator.Request(link: 1, handle: 9)
        let isTaken = [self.live(4), self.client(4), self.client(5)].map { waiting.append($0, request) }
        #expect(isTaken == [false, true, false])
        #expect(waiting.count == 6)
    }
}
