import Common
import TestSupport
import Testing

@testable import Router

extension SubscriptionTrie {
    @discardableResult
    fileprivate mutating func join(_ name: String, _ filter: String, session: UInt32) -> UInt32 {
        Array(filter.utf8).withUnsafeBytes { filter in
            Array(name.utf8).withUnsafeBytes { name in
                let subscriber = Subscriber(session: session, options: .init(qos: .atLeastOnce))
                return self.addShared(filter: filter, name: name, subscriber).group
            }
        }
    }

    fileprivate mutating func groups(matching topic: String) -> [UInt32] {
        var result = MatchResult()
        _ = Array(topic.utf8).withUnsafeBytes { self.match(topic: $0, into: &result) }
        return result.groups
    }

    /// The members that get the next messages, all of them being able to.
    fileprivate mutating func turns(_ count: Int, of group: UInt32) -> [UInt32] {
        (0..<count).compactMap { _ in
            self.chooseMember(of: group, .roundRobin, { _ in .free(waiting: 0) })?.session
        }
    }
}

/// Shared subscriptions in numbers that one client alone can make: what one costs must not grow with those that are there.
@Suite struct SharedGroupTests {
    /// Groups and members that one change may look at: the table's collisions, and a list that is short enough to be looked through.
    private static let lookedAtMax = 64

    @Test func groupsOfOneFilterCostTheSameHoweverManyThereAre() {
        let count: UInt32 = 20_000
        var trie = SubscriptionTrie(seed: 1)
        var groups: [UInt32] = []
        var most = 0
        for number in 0..<count {
            groups.append(trie.join("g\(number)", "devices/dev/q", session: number % 20))
            most = max(most, trie.sharedLookedAt)
        }
        #expect(trie.groups(matching: "devices/dev/q") == groups)
        for number in 0..<count {
            let again = trie.join("g\(number)", "devices/dev/q", session: number % 20)
            #expect(again == groups[Int(number)])
            most = max(most, trie.sharedLookedAt)
        }
        for number in 0..<count where number % 3 != 0 {
            let removed = trie.removeShared(group: groups[Int(number)], session: number % 20)
            #expect(removed)
            most = max(most, trie.sharedLookedAt)
        }
        let left = (0..<count).filter { $0 % 3 == 0 }.map { groups[Int($0)] }
        #expect(trie.groups(matching: "devices/dev/q") == left)
        for number in 0..<count where number % 3 == 0 {
            _ = trie.removeShared(group: groups[Int(number)], session: number % 20)
            most = max(most, trie.sharedLookedAt)
        }
        #expect(most <= Self.lookedAtMax)
        #expect([trie.count, trie.nodeCount, trie.levels.count, trie.groups.count] == [0, 0, 0, 0])
    }

    @Test func aGroupTakesMembersAndLetsThemGoAtTheSameCostHoweverManyThereAre() {
        let count: UInt32 = 100_000
        var trie = SubscriptionTrie(seed: 2)
        var group: UInt32 = 0
        var most = 0
        for session in 0..<count {
            group = trie.join("workers", "jobs/+", session: session)
            most = max(most, trie.sharedLookedAt)
        }
        let replaced = trie.join("workers", "jobs/+", session: 50_000)
        #expect(replaced == group)
        #expect([trie.count] == [Int(count)])
        for session in 0..<count {
            let isMember = trie.groups.options(of: session, in: group) != nil
            let removed = trie.removeShared(group: group, session: session)
            #expect(isMember && removed)
            most = max(most, trie.sharedLookedAt)
        }
        #expect(most <= Self.lookedAtMax)
        #expect([trie.count, trie.nodeCount, trie.levels.count, trie.groups.count] == [0, 0, 0, 0])
    }

    @Test(arguments: [5, 40] as [UInt32]) func aMemberThatLeavesTakesNobodysTurn(_ count: UInt32) {
        for leaving in 0..<count {
            for served in 0..<count {
                var trie = SubscriptionTrie(seed: 3)
                var group: UInt32 = 0
                for session in 0..<count { group = trie.join("workers", "jobs/1", session: session) }
                let before = Set(trie.turns(Int(served), of: group))
                _ = trie.removeShared(group: group, session: leaving)
                let others = Set(0..<count).subtracting([leaving])
                let waiting = others.subtracting(before)
                #expect(Set(trie.turns(waiting.count, of: group)) == waiting, "\(leaving) of \(count) after \(served)")
                let next = trie.turns(others.count, of: group)
                #expect(Set(next) == others, "\(leaving) of \(count) after \(served)")
            }
        }
    }

    @Test func groupsAreThoseOfASimpleModelUnderRandomChanges() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var trie = SubscriptionTrie(seed: random.next())
        // Of each filter the names in the order in which they came, with their members.
        var model: [String: [(name: String, group: UInt32, members: Set<UInt32>)]] = [:]
        for step in 0..<8000 {
            let filter = "a/\(UInt32.random(in: 0..<4, using: &random))"
            let name = "group-\(UInt32.random(in: 0..<12, using: &random))"
            let session = UInt32.random(in: 0..<60, using: &random)
            let known = model[filter]?.firstIndex { $0.name == name }
            if Int.random(in: 0..<5, using: &random) < (step / 2000 % 2 == 0 ? 4 : 1) {
                let group = trie.join(name, filter, session: session)
                if let known {
                    #expect(model[filter]?[known].group == group, "seed \(seed)")
                    model[filter]?[known].members.insert(session)
                } else {
                    model[filter, default: []].append((name, group, [session]))
                }
            } else if let known, let entry = model[filter]?[known] {
                let removed = trie.removeShared(group: entry.group, session: session)
                #expect(removed == entry.members.contains(session), "seed \(seed)")
                model[filter]?[known].members.remove(session)
                if model[filter]?[known].members.isEmpty == true { model[filter]?.remove(at: known) }
            }
            guard step % 7 == 0 else { continue }
            let expected = model[filter] ?? []
            #expect(trie.groups(matching: filter) == expected.map(\.group), "seed \(seed)")
            for entry in expected {
                #expect(Set(trie.turns(entry.members.count, of: entry.group)) == entry.members, "seed \(seed)")
            }
        }
        for (_, groups) in model {
            for entry in groups {
                for session in entry.members { _ = trie.removeShared(group: entry.group, session: session) }
            }
        }
        #expect([trie.count, trie.nodeCount, trie.levels.count, trie.groups.count] == [0, 0, 0, 0], "seed \(seed)")
    }
}
