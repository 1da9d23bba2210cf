import Common

/// Connections that wait, in the order of coming for each address; the addresses take turns.
///
/// Each of them costs the same, however many wait: but for `remove`, which looks for it among those of its address from the one that came
/// first.
struct SourceQueue {
    private struct List {
        var connections: [Int32] = []
        /// Before it is what has left.
        var first = 0

        var count: Int { self.connections.count - self.first }

        mutating func popFirst() -> Int32? {
            guard self.count > 0 else { return nil }
            let connection = self.connections[self.first]
            self.first += 1
            if self.first >= 64, 2 * self.first >= self.connections.count {
                self.connections.removeFirst(self.first)
                self.first = 0
            }
            return connection
        }
    }

    private var lists: [ConnectionSource: List] = [:]
    /// The addresses in the order of their turns; from some nothing waits any more.
    private var turns: [ConnectionSource] = []
    /// Before it are turns that were had.
    private var firstTurn = 0
    /// Addresses by how many wait from there, up to those with the most; nobody at 0.
    private var byCount: [Set<ConnectionSource>] = [[]]
    private(set) var count = 0
    private var sourceCount = 0

    /// What is kept of addresses.
    var turnCount: Int { self.turns.count - self.firstTurn }

    mutating func append(_ connection: Int32, from source: ConnectionSource) {
        if self.lists[source] == nil {
            if self.turns.count - self.firstTurn >= 2 * self.sourceCount + 64 { self.dropEmptyTurns() }
            self.turns.append(source)
        }
        self.lists[source, default: List()].connections.append(connection)
        self.changed(source, by: 1)
    }

    private mutating func changed(_ source: ConnectionSource, by change: Int) {
        let count = self.lists[source]?.count ?? 0
        self.count += change
        let before = count - change
        if before == 0 { self.sourceCount += 1 } else { self.byCount[before].remove(source) }
        if count == 0 {
            self.sourceCount -= 1
        } else {
            if count == self.byCount.count { self.byCount.append([]) }
            self.byCount[count].insert(source)
        }
        while self.byCount.count > 1, self.byCount.last?.isEmpty == true { self.byCount.removeLast() }
    }

    /// - Parameter excluded: not from there.
    func hasNext(except excluded: ConnectionSource? = nil) -> Bool {
        guard let excluded, (self.lists[excluded]?.count ?? 0) > 0 else { return self.count > 0 }
        return self.sourceCount > 1
    }

    /// The first one of the address whose turn it is; it leaves.
    /// - Parameter excluded: it is not the turn of that one, which keeps its place.
    mutating func next(except excluded: ConnectionSource? = nil) -> Int32? {
        guard self.hasNext(except: excluded) else { return nil }
        var passedOver: ConnectionSource?
        while self.firstTurn < self.turns.count {
            let source = self.turns[self.firstTurn]
            self.firstTurn += 1
            if (self.lists[source]?.count ?? 0) == 0 {
                self.lists[source] = nil
            } else if source == excluded {
                passedOver = source
            } else {
                if let passedOver {
                    self.firstTurn -= 1
                    self.turns[self.firstTurn] = passedOver
                }
                let connection = self.removeFirst(from: source)
                if (self.lists[source]?.count ?? 0) == 0 {
                    self.lists[source] = nil
                } else {
                    self.turns.append(source)
                }
                self.dropTurnsHad()
                return connection
            }
        }
        return nil
    }

    private mutating func dropTurnsHad() {
        guard self.firstTurn >= 64, 2 * self.firstTurn >= self.turns.count else { return }
        self.turns.removeFirst(self.firstTurn)
        self.firstTurn = 0
    }

    /// Addresses of which all have left otherwise than by their turn do not pile up.
    private mutating func dropEmptyTurns() {
        let left = self.turns[self.firstTurn...].filter { (self.lists[$0]?.count ?? 0) > 0 }
        self.lists = self.lists.filter { $0.value.count > 0 }
        self.turns = left
        self.firstTurn = 0
    }

    mutating func removeFirst(from source: ConnectionSource) -> Int32? {
        guard let connection = self.lists[source]?.popFirst() else { return nil }
        self.changed(source, by: -1)
        return connection
    }

    mutating func removeLast(from source: ConnectionSource) -> Int32? {
        guard (self.lists[source]?.count ?? 0) > 0, let connection = self.lists[source]?.connections.popLast() else {
            return nil
        }
        self.changed(source, by: -1)
        return connection
    }

    /// - Returns: whether it was here.
    mutating func remove(_ connection: Int32, from source: ConnectionSource) -> Bool {
        guard let list = self.lists[source], list.count > 0,
            let place = list.connections[list.first...].firstIndex(of: connection)
        else { return false }
        if place == list.first { return self.removeFirst(from: source) != nil }
        self.lists[source]?.connections.remove(at: place)
        self.changed(source, by: -1)
        return true
    }

    mutating func removeAll(from source: ConnectionSource) -> [Int32] {
        var connections: [Int32] = []
        while let connection = self.removeFirst(from: source) { connections.append(connection) }
        return connections
    }

    /// The address with the most, or one of those.
    var largest: (source: ConnectionSource, count: Int)? {
        self.byCount.last?.first.map { ($0, self.byCount.count - 1) }
    }
}
