import Common
import TestSupport
import Testing

@testable import Router

/// Matching as the standard tells it, level by level (MQTT 5.0, section 4.7).
func naiveMatch(filter: String, topic: String) -> Bool {
    let filterLevels = filter.split(separator: "/", omittingEmptySubsequences: false)
    let topicLevels = topic.split(separator: "/", omittingEmptySubsequences: false)
    if topic.hasPrefix("$"), filterLevels[0] == "+" || filterLevels[0] == "#" { return false }
    for (index, level) in filterLevels.enumerated() {
        if level == "#" { return true }
        guard index < topicLevels.count else { return false }
        if level != "+", level != topicLevels[index] { return false }
    }
    return filterLevels.count == topicLevels.count
}

func randomTopic(_ random: inout SeededRandom) -> String {
    let words = ["a", "b", "", "devices", "temperature-of-the-room", "$SYS", "8bytes--"]
    return (0..<Int.random(in: 1...4, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }
        .joined(separator: "/")
}

func randomFilter(_ random: inout SeededRandom) -> String {
    let words = ["a", "b", "", "devices", "temperature-of-the-room", "$SYS", "8bytes--", "+", "+", "+"]
    var levels = (0..<Int.random(in: 1...4, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }
    if Int.random(in: 0..<4, using: &random) == 0 { levels[levels.count - 1] = "#" }
    return levels.joined(separator: "/")
}

extension SubscriptionTrie {
    @discardableResult
    mutating func add(
        _ filter: String,
        session: UInt32,
        options: Subscriber.Options = .init(qos: .atMostOnce)
    )
        -> (node: UInt32, result: AddResult)
    {
        Array(filter.utf8).withUnsafeBytes { self.add(filter: $0, Subscriber(session: session, options: options)) }
    }

    mutating func brings(_ topic: String, to session: Session) -> Bool {
        Array(topic.utf8).withUnsafeBytes { self.brings(topic: $0, to: session) }
    }

    mutating func match(_ topic: String, publisher: UInt32 = SubscriptionTrie.noSession) -> [UInt32: Subscriber.Options]
    {
        var result = MatchResult()
        _ = Array(topic.utf8).withUnsafeBytes { self.match(topic: $0, publisher: publisher, into: &result) }
        return Dictionary(uniqueKeysWithValues: result.subscribers.map { ($0.session, $0.options) })
    }
}

@Suite struct SubscriptionTrieTests {
    @Test func matchesLikeTheNaiveMatcherUnderRandomChanges() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var trie = SubscriptionTrie(seed: random.next())
        var model: [String: [UInt32: Subscriber.Options]] = [:]
        var nodes: [String: UInt32] = [:]
        for step in 0..<6000 {
            let filter = randomFilter(&random)
            let session = UInt32.random(in: 0..<40, using: &random)
            if Int.random(in: 0..<5, using: &random) < (step < 4000 ? 3 : 1) {
                let options = Subscriber.Options(
                    qos: QoS(rawValue: UInt8.random(in: 0...2, using: &random)) ?? .atMostOnce,
                    noLocal: Bool.random(using: &random),
                    retainAsPublished: Bool.random(using: &random)
                )
                let (node, result) = trie.add(filter, session: session, options: options)
                let known = model[filter, default: [:]].updateValue(options, forKey: session) != nil
                #expect(result == (known ? .replaced : .added), "seed \(seed)")
                nodes[filter] = node
                #expect(String(decoding: trie.filter(of: node), as: UTF8.self) == filter, "seed \(seed)")
            } else if let node = nodes[filter], model[filter] != nil {
                let removed = trie.remove(node: node, session: session)
                #expect(removed == (model[filter]?.removeValue(forKey: session) != nil), "seed \(seed)")
                if model[filter]?.isEmpty == true { model[filter] = nil }
            }
            guard step % 3 == 0 else { continue }
            let topic = randomTopic(&random)
            let publisher = UInt32.random(in: 0..<40, using: &random)
            var expected: [UInt32: Subscriber.Options] = [:]
            for (filter, subscribers) in model where naiveMatch(filter: filter, topic: topic) {
                for (session, options) in subscribers where !(options.noLocal && session == publisher) {
                    if expected[session] == nil {
                        expected[session] = options
                    } else {
                        expected[session]?.merge(options)
                    }
                }
            }
            let found = trie.match(topic, publisher: publisher)
            #expect(Set(found.keys) == Set(expected.keys), "seed \(seed), topic \(topic)")
            let subscribed = model.contains { filter, subscribers in
                subscribers[publisher] != nil && naiveMatch(filter: filter, topic: topic)
            }
            let isBrought = trie.brings(topic, to: Session(index: publisher, clientIdentifier: []))
            #expect(isBrought == subscribed, "seed \(seed), topic \(topic)")
            for (session, options) in found {
                #expect(options.qos == expected[session]?.qos, "seed \(seed), topic \(topic)")
                #expect(options.retainAsPublished == expected[session]?.retainAsPublished, "seed \(seed)")
            }
        }
        for (filter, subscribers) in model {
            for session in subscribers.keys {
                let removed = trie.remove(node: nodes[filter] ?? 0, session: session)
                #expect(removed)
            }
        }
        #expect([trie.nodeCount] == [0], "seed \(seed)")
        #expect([trie.levels.count] == [0], "seed \(seed)")
        #expect([trie.count] == [0], "seed \(seed)")
    }

    @Test func overlappingSubscriptionsGiveOneCopyWithAllIdentifiers() {
        var trie = SubscriptionTrie(seed: 1)
        trie.add("a/b", session: 7, options: .init(qos: .atMostOnce, identifier: 11))
        trie.add("a/+", session: 7, options: .init(qos: .exactlyOnce, identifier: 12))
        trie.add("#", session: 7, options: .init(qos: .atLeastOnce))
        trie.add("a/#", session: 7, options: .init(qos: .atLeastOnce, identifier: 13))
        trie.add("a/#", session: 8, options: .init(qos: .atLeastOnce, identifier: 99))
        var result = MatchResult()
        _ = Array("a/b".utf8).withUnsafeBytes { trie.match(topic: $0, into: &result) }
        #expect(result.subscribers.count == 2)
        let entry = result.subscribers.firstIndex { $0.session == 7 } ?? 0
        #expect(result.subscribers[entry].options.qos == .exactlyOnce)
        var identifiers = [result.subscribers[entry].options.identifier]
        for further in result.furtherIdentifiers where Int(further.entry) == entry {
            identifiers.append(further.identifier)
        }
        #expect(identifiers.sorted() == [11, 12, 13])
    }

    @Test func longListsFindAndForgetTheirMembers() {
        var trie = SubscriptionTrie(seed: 2)
        var node: UInt32 = 0
        for session in 0..<1000 as Range<UInt32> { node = trie.add("all", session: session).node }
        for session in stride(from: 0 as UInt32, to: 1000, by: 2) {
            let removed = trie.remove(node: node, session: session)
            #expect(removed)
        }
        let removedTwice = trie.remove(node: node, session: 4)
        #expect(!removedTwice)
        let options = trie.subscription(node: node, session: 501)
        #expect(options != nil)
        let matched = trie.match("all").keys.sorted()
        #expect(matched == Array(stride(from: 1 as UInt32, to: 1000, by: 2)))
        for session in stride(from: 999 as UInt32, to: 0, by: -2) {
            let removed = trie.remove(node: node, session: session)
            #expect(removed)
        }
        #expect([trie.nodeCount] == [0])
    }

    /// A search through all of them for each message would keep others waiting.
    @Test(arguments: Configuration.MQTT.SharedSpread.allCases)
    func aGroupWhoseMembersHaveAllTheyTakeCostsTheSameHoweverLargeItIs(_ spread: Configuration.MQTT.SharedSpread) {
        let members = 500
        var lookedAt = 0
        var group = SharedGroup()
        for session in 0..<UInt32(members) {
            _ = group.add(Subscriber(session: session, options: .init(qos: .atLeastOnce)), &lookedAt)
        }
        var waiting = [Int](repeating: 1, count: members)
        lookedAt = 0
        for _ in 0..<2 * members {
            let member = group.choose(spread) { subscriber in
                lookedAt += 1
                return .busy(waiting: waiting[Int(subscriber.session)])
            }
            if let member { waiting[Int(member.session)] += 1 }
        }
        #expect(lookedAt <= 2 * members * SharedGroup.compared)
        #expect(waiting.allSatisfy { $0 == 3 }, "all have their turns")
    }

    @Test func whoDoesNotTakeAMessageThatLargeGetsItOnlyWhenNobodyDoes() {
        for options in [Subscriber.Options(qos: .atLeastOnce), Subscriber.Options(qos: .atMostOnce)] {
            var group = SharedGroup()
            var lookedAt = 0
            for session in 0..<3 as Range<UInt32> {
                _ = group.add(Subscriber(session: session, options: options), &lookedAt)
            }
            func chosen(_ last: SharedGroup.Member) -> UInt32? {
                group.choose(.roundRobin) { $0.session == 2 ? last : .unable }?.session
            }
            #expect((0..<3).map { _ in chosen(.free(waiting: 5)) } == [2, 2, 2])
            #expect((0..<3).map { _ in chosen(.busy(waiting: 5)) } == [2, 2, 2])
            // A client that is away may take it when it comes back.
            #expect((0..<3).map { _ in chosen(.away) } == [2, 2, 2])
            #expect((0..<3).map { _ in chosen(.unable) } == [0, 1, 2])
        }
    }

    @Test func sharedGroupsTakeTurns() {
        var trie = SubscriptionTrie(seed: 3)
        var group: UInt32 = 0
        func add(_ session: UInt32) -> UInt32 {
            Array("jobs/+".utf8).withUnsafeBytes { filter in
                Array("workers".utf8).withUnsafeBytes { name in
                    let subscriber = Subscriber(session: session, options: .init(qos: .atLeastOnce))
                    return trie.addShared(filter: filter, name: name, subscriber).group
                }
            }
        }
        for session in 1...3 as ClosedRange<UInt32> { group = add(session) }
        var result = MatchResult()
        _ = Array("jobs/1".utf8).withUnsafeBytes { trie.match(topic: $0, into: &result) }
        #expect(result.subscribers.isEmpty)
        #expect(result.groups == [group])
        let turns = (0..<6).compactMap { _ in
            trie.chooseMember(of: group, .roundRobin, { _ in .free(waiting: 0) })?.session
        }
        #expect(turns == [1, 2, 3, 1, 2, 3])
        let picky = (0..<4).compactMap { _ in
            trie.chooseMember(of: group, .roundRobin, { $0.session == 2 ? .busy(waiting: 1) : .free(waiting: 5) })?
                .session
        }
        #expect(picky == [1, 3, 1, 3])
        // Whoever is connected comes before whoever is away, however much waits there.
        let connected = (0..<3).compactMap { _ in
            trie.chooseMember(of: group, .roundRobin, { $0.session == 3 ? .busy(waiting: 9) : .away })?.session
        }
        #expect(connected == [3, 3, 3])
        let waiting: [UInt32: Int] = [1: 4, 2: 3, 3: 3]
        let least = (0..<4).compactMap { _ in
            trie.chooseMember(of: group, .leastInflight, { .free(waiting: waiting[$0.session] ?? 0) })?.session
        }
        #expect(least == [2, 3, 2, 3])
        let away = (0..<3).compactMap { _ in trie.chooseMember(of: group, .leastInflight, { _ in .away })?.session }
        #expect(Set(away) == [1, 2, 3])
        for session in 1...3 as ClosedRange<UInt32> {
            let removed = trie.removeShared(group: group, session: session)
            #expect(removed)
        }
        #expect([trie.nodeCount] == [0])
        _ = Array("jobs/1".utf8).withUnsafeBytes { trie.match(topic: $0, into: &result) }
        #expect(result.groups.isEmpty)
    }

}
