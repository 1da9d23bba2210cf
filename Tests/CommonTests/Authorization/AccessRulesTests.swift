import Common
import TestSupport
import Testing

@Suite struct AccessRulesTests {
    private func rule(
        _ permission: AccessRule.Permission,
        _ filter: String,
        _ actions: AccessRule.Actions = .all,
        isLiteral: Bool = false,
        qosMask: UInt8 = 0b111,
        retain: AccessRule.RetainCondition = .any
    ) -> AccessRule {
        AccessRule(
            permission: permission,
            actions: actions,
            filter: Array(filter.utf8),
            isLiteral: isLiteral,
            qosMask: qosMask,
            retain: retain
        )
    }

    private func publishes(
        _ rules: AccessRules,
        _ topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false
    ) -> Bool {
        Array(topic.utf8).withUnsafeBytes { rules.allowsPublish(topic: $0, qos: qos, retain: retain) }
    }

    private func subscribes(_ rules: AccessRules, _ filter: String, qos: QoS = .atMostOnce) -> Bool {
        Array(filter.utf8).withUnsafeBytes { rules.allowsSubscribe(filter: $0, qos: qos) }
    }

    @Test("Superusers may do everything, whatever the rules say")
    func superuser() {
        let rules = AccessRules(isSuperuser: true, rules: [self.rule(.deny, "#")], noMatch: .deny)
        #expect(self.publishes(rules, "a") && self.subscribes(rules, "#"))
        #expect(self.publishes(.allowEverything, "$SYS/a") && self.subscribes(.allowEverything, "$SYS/#"))
    }

    @Test("Without a matching rule, noMatch decides")
    func noMatch() {
        for (permission, expected) in [(AccessRule.Permission.allow, true), (.deny, false)] {
            let rules = AccessRules(rules: [self.rule(.allow, "a"), self.rule(.deny, "b")], noMatch: permission)
            #expect(self.publishes(rules, "c") == expected)
            #expect(self.subscribes(rules, "c/#") == expected)
            #expect(self.publishes(rules, "a") && !self.publishes(rules, "b"))
        }
    }

    @Test("The first rule that matches decides")
    func order() {
        let denyFirst = AccessRules(rules: [self.rule(.deny, "a/secret"), self.rule(.allow, "a/#")], noMatch: .deny)
        #expect(!self.publishes(denyFirst, "a/secret") && self.publishes(denyFirst, "a/open"))
        #expect(!self.subscribes(denyFirst, "a/secret") && self.subscribes(denyFirst, "a/open"))
        let allowFirst = AccessRules(rules: [self.rule(.allow, "a/#"), self.rule(.deny, "a/secret")], noMatch: .deny)
        #expect(self.publishes(allowFirst, "a/secret") && self.subscribes(allowFirst, "a/secret"))
    }

    @Test("A rule is for its action, its QoS and its retain flag only")
    func conditions() {
        let publishOnly = AccessRules(rules: [self.rule(.allow, "a", .publish)], noMatch: .deny)
        #expect(self.publishes(publishOnly, "a") && !self.subscribes(publishOnly, "a"))
        let subscribeOnly = AccessRules(rules: [self.rule(.allow, "a", .subscribe)], noMatch: .deny)
        #expect(!self.publishes(subscribeOnly, "a") && self.subscribes(subscribeOnly, "a"))
        let qos1 = AccessRules(rules: [self.rule(.allow, "a", qosMask: 0b010)], noMatch: .deny)
        for qos in QoS.allCases {
            #expect(self.publishes(qos1, "a", qos: qos) == (qos == .atLeastOnce))
            #expect(self.subscribes(qos1, "a", qos: qos) == (qos == .atLeastOnce))
        }
        let retained = AccessRules(rules: [self.rule(.allow, "a", retain: .onlyRetained)], noMatch: .deny)
        #expect(self.publishes(retained, "a", retain: true) && !self.publishes(retained, "a", retain: false))
        #expect(self.subscribes(retained, "a"), "retain is looked at for PUBLISH only")
        let notRetained = AccessRules(rules: [self.rule(.allow, "a", retain: .onlyNotRetained)], noMatch: .deny)
        #expect(!self.publishes(notRetained, "a", retain: true) && self.publishes(notRetained, "a", retain: false))
    }

    @Test("A subscription gets what an allow rule covers, never more")
    func covering() {
        let rules = AccessRules(rules: [self.rule(.allow, "devices/1/+"), self.rule(.allow, "all/#")], noMatch: .deny)
        #expect(self.subscribes(rules, "devices/1/state"))
        #expect(self.subscribes(rules, "devices/1/+"))
        #expect(!self.subscribes(rules, "devices/1/#"))
        #expect(!self.subscribes(rules, "devices/+/state"))
        #expect(!self.subscribes(rules, "#"))
        #expect(self.subscribes(rules, "all/+/x/#"))
        #expect(self.subscribes(rules, "all"))
        let everything = AccessRules(rules: [self.rule(.allow, "#")], noMatch: .deny)
        #expect(self.subscribes(everything, "#") && !self.subscribes(everything, "$SYS/#"))
        #expect(!self.publishes(everything, "$SYS/a"))
    }

    @Test("A deny rule that overlaps a wider subscription does not apply; equal and narrower ones it refuses")
    func denied() {
        let rules = AccessRules(rules: [self.rule(.deny, "a/+"), self.rule(.allow, "#")], noMatch: .deny)
        #expect(!self.subscribes(rules, "a/+"))
        #expect(!self.subscribes(rules, "a/b"))
        #expect(self.subscribes(rules, "a/#"))
    }

    @Test("Shared subscriptions are judged by their filter")
    func shared() {
        let rules = AccessRules(rules: [self.rule(.allow, "a/#")], noMatch: .deny)
        #expect(self.subscribes(rules, "$share/group/a/+"))
        #expect(!self.subscribes(rules, "$share/group/b"))
        #expect(!self.subscribes(rules, "$share/a/#"), "a is the group here, and # everything")
    }

    @Test("Literal rules compare bytes, wildcards and all")
    func literal() {
        let rules = AccessRules(rules: [self.rule(.allow, "a/#", isLiteral: true)], noMatch: .deny)
        #expect(self.subscribes(rules, "a/#") && self.subscribes(rules, "$share/g/a/#"))
        #expect(!self.subscribes(rules, "a/b") && !self.publishes(rules, "a/b"))
        let name = AccessRules(rules: [self.rule(.allow, "a/b", isLiteral: true)], noMatch: .deny)
        #expect(self.publishes(name, "a/b") && !self.publishes(name, "a/bc") && !self.publishes(name, "a"))
    }

    @Test("What may be subscribed to with an allow rule, may be published to: rules mean one set of topics")
    func agreement() {
        let seed = testSeed()
        var generator = PacketGenerator(seed: seed)
        for _ in 0..<2_000 {
            let filter = generator.filter()
            let topic = generator.topic()
            let rules = AccessRules(
                rules: [AccessRule(permission: .allow, actions: .all, filter: filter)],
                noMatch: .deny
            )
            let publishes = topic.withUnsafeBytes { rules.allowsPublish(topic: $0, qos: .atMostOnce, retain: false) }
            let subscribes = topic.withUnsafeBytes { rules.allowsSubscribe(filter: $0, qos: .atMostOnce) }
            #expect(publishes == subscribes, "seed \(seed): \(filter) \(topic)")
        }
    }
}
