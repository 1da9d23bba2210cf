/// One set of `authorization.rules`, with its topic templates taken apart: what clients get their `AccessRules` from.
public struct RuleTemplate: Equatable, Sendable {
    private struct Line: Equatable, Sendable {
        var rule: AccessRule
        var topic: TemplateText
    }

    public struct Rendered: Equatable, Sendable {
        public var access: AccessRules
        /// Rules left out because the client lacks a value they ask for, or has one that may not stand in a topic.
        public var rulesDropped: Int
        /// A rule that denies could not be filled in: what no rule before it allows is denied, whatever else speaks for it.
        public var deniesRest = false
    }

    private let lines: [Line]
    private let noMatch: AccessRule.Permission

    /// - Throws: `TemplateError` naming the topic with the mistake.
    public init(
        _ set: Configuration.Authorization.RuleSet,
        noMatch: AccessRule.Permission
    ) throws(TemplateError) {
        var lines: [Line] = []
        for rule in set.rules {
            for topic in rule.topics {
                let text: TemplateText
                do throws(TemplateError) {
                    // As in access rows: what looks like a placeholder behind the mark is none.
                    text = topic.isLiteral ? TemplateText(literal: topic.filter) : try TemplateText(topic.filter)
                } catch {
                    let shown = String(decoding: topic.filter, as: UTF8.self)
                    throw TemplateError(
                        reason: "authorization.rules.\(set.name), topic \"\(shown)\": \(error.reason)",
                        position: error.position
                    )
                }
                let rendered = AccessRule(
                    permission: rule.permission,
                    actions: rule.actions,
                    filter: [],
                    isLiteral: topic.isLiteral,
                    qosMask: rule.qosMask,
                    retain: rule.retain
                )
                lines.append(Line(rule: rendered, topic: text))
            }
        }
        self.lines = lines
        self.noMatch = noMatch
    }

    /// The rules for one client.
    ///
    /// A rule that asks for a value the client lacks is left out: it speaks of topics that do not exist. One whose value holds
    /// `+`, `#`, `/` or a control character is left out if it allows; if it denies, leaving it out would allow what it was
    /// written against, so everything from there on is denied.
    public func render(for client: ClientAttributes) -> Rendered {
        var access = AccessRules(noMatch: self.noMatch)
        var dropped = 0
        for line in self.lines {
            do throws(TemplateText.RenderFailure) {
                var rule = line.rule
                rule.filter = try line.topic.renderTopic(client)
                guard rule.filter.count <= Int(UInt16.max) else {
                    dropped += 1
                    continue
                }
                access.rules.append(rule)
            } catch {
                dropped += 1
                switch (error, line.rule.permission) {
                case (.notAllowed, .deny):
                    access.noMatch = .deny
                    return Rendered(access: access, rulesDropped: dropped, deniesRest: true)
                case (.missing, _), (.notAllowed, .allow):
                    break
                }
            }
        }
        return Rendered(access: access, rulesDropped: dropped)
    }
}
