import Common
import TestSupport

/// An MQTT client that does what the standard says, on a bad network.
final class SimulatedClient {
    let plan: ClientPlan
    private let slowness: Int
    private unowned let simulation: Simulation
    private var ledger: Ledger { self.simulation.ledger }
    private var now: Instant { self.simulation.clock.now }
    private var connection: ClientConnection?
    /// Connections that it has forgotten, and whose end never reached the broker.
    private var forgotten: [ClientConnection] = []
    private var connectsAt: Instant
    private var connackBy: Instant = 0
    /// A session that lasts was accepted.
    private var hasSession = false
    private var subscribed: Set<UInt16> = []
    private(set) var receiver: Receiver
    private(set) var retained: [String: String] = [:]

    // As a publisher.
    private var identifier: UInt16 = 0
    private var numbers: [String: Int] = [:]
    private struct UnderWay {
        var identifier: UInt16
        var packet: PublishPacket
        var isReceived = false
    }
    /// In the order in which they were sent.
    private var underWay: [UnderWay] = []

    /// Of this connection: those that it uses.
    private var aliases: [String: UInt16] = [:]

    // As a subscriber.
    /// Of this connection: those that the broker uses.
    private var aliasedTopics: [UInt16: String] = [:]
    private var held: [UInt16: String] = [:]
    private var toAcknowledge: [UInt16] = []
    private var unacknowledged: Set<UInt16> = []
    /// What came on this connection, each with its identifier.
    private var cameHere: Set<String> = []
    /// The connection may have found a session, of which messages are sent again.
    private var mayGetRepetitions = false

    private var will: String?
    private var willNumber = 0
    /// The operator took its credentials away: being refused and closed is right.
    let mayBeRefused: Bool
    /// Its session, a subscription or a will of it was accepted while the router could not store it.
    var isInDoubt = false
    /// And the router died.
    private var mayHaveLostSession = false

    /// - Parameter slowness: of so many chances it acknowledges in one.
    init(_ plan: ClientPlan, _ simulation: Simulation, slowness: Int) {
        self.plan = plan
        self.slowness = slowness
        self.simulation = simulation
        self.connectsAt = plan.comesLate ? .max : simulation.clock.now
        self.receiver = Receiver(plan)
        self.mayBeRefused = plan.credentials != .right
    }

    func comes() {
        self.connectsAt = self.now
    }

    private var filters: [(filter: String, qos: QoS)] {
        self.plan.subscriptions + (self.plan.group.map { [("$share/\($0)/t/#", .exactlyOnce)] } ?? [])
    }

    var isConnected: Bool { self.connection?.isOpen ?? false }
    var isAtRest: Bool { self.underWay.isEmpty && self.held.isEmpty && self.toAcknowledge.isEmpty }
    var oldConnections: Int { self.forgotten.count }
    var deadline: Instant {
        self.connection == nil ? self.connectsAt : self.isConnected ? .max : self.connackBy
    }

    func close() {
        self.connection?.close()
        self.connection = nil
        for connection in self.forgotten { connection.close() }
        self.forgotten = []
    }

    /// Its connections are gone, like the broker that had them.
    func noticesPowerLoss() {
        for connection in self.forgotten { connection.close() }
        self.forgotten = []
    }

    func routerDiedInDoubt() {
        guard self.isInDoubt else { return }
        self.mayHaveLostSession = true
        if let will = self.will { self.ledger.wills[will]?.end = .unknown }
    }

    // MARK: A turn

    func act(_ random: inout SeededRandom) -> Bool {
        var didSomething = self.readForgotten()
        guard let connection = self.connection else {
            guard self.connectsAt <= self.now else { return didSomething }
            self.connect(&random)
            return true
        }
        switch connection.receive(self.simulation.buffer) {
        case .nothing: break
        case .packets(let packets):
            for packet in packets { self.take(packet) }
            didSomething = true
        case .end(let packets):
            for packet in packets where self.connection === connection { self.take(packet) }
            if self.connection === connection { self.lost(&random) }
            return true
        case .broken(let problem):
            self.ledger.fault("\(self.plan.name) got a broken packet: \(problem)")
            self.connection = nil
            return true
        }
        guard self.connection === connection else { return true }
        if connection.isOpen {
            if !self.simulation.isCalm { self.doSomething(&random) }
            if self.simulation.isCalm || random.oneIn(self.slowness) {
                didSomething = self.acknowledge() || didSomething
            }
        } else if self.connackBy <= self.now {
            if self.simulation.isCalm { self.ledger.fault("\(self.plan.name) waited for CONNACK in vain") }
            self.leave(connection, &random)
        }
        return self.connection?.flush() ?? true || didSomething
    }

    private func readForgotten() -> Bool {
        var didSomething = false
        self.forgotten.removeAll { connection in
            switch connection.receive(self.simulation.buffer) {
            case .nothing: return false
            case .packets: didSomething = true
            case .end, .broken:
                didSomething = true
                connection.close()
                return true
            }
            return false
        }
        return didSomething
    }

    private func doSomething(_ random: inout SeededRandom) {
        if self.plan.publishes, self.underWay.count < 12, random.oneIn(4) { self.publish(&random) }
        guard let connection = self.connection else { return }
        if self.simulation.isLinkJammed, random.oneIn(20) {
            self.leave(connection, &random)
            self.connectsAt = self.now + UInt64.random(in: 0...5_000_000, using: &random)
            return
        }
        guard random.oneIn(self.simulation.vanishesOneIn / (self.simulation.isRouterAway ? 4 : 1)) else { return }
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
            connection.output += Packet.disconnect(DisconnectPacket()).bytes(self.plan.version)
            connection.flush()
            connection.close()
            self.connectionEnded(.withDisconnect, connection)
        case 1:
            return self.breakOff(&random)
        default:
            // The broker is not told.
            self.leave(connection, &random)
        }
        self.connectsAt = self.now + UInt64.random(in: 0...1_500_000_000, using: &random)
    }

    private func leave(_ connection: ClientConnection, _ random: inout SeededRandom) {
        self.forgotten.append(connection)
        self.connectionEnded(.abrupt(self.now), connection)
        self.connectsAt = self.now + UInt64.random(in: 0...300_000_000, using: &random)
    }

    private func lost(_ random: inout SeededRandom) {
        guard let connection = self.connection else { return }
        connection.close()
        // Messages that could not be stored, and got no answer in MQTT 3, are to be sent again.
        let isToSendAgain =
            self.simulation.disksWereFull && self.plan.version != .v5_0 && !self.underWay.isEmpty
        if connection.isOpen, !connection.hasLostListener, !self.mayBeRefused, !self.mayHaveLostSession,
            !isToSendAgain
        {
            self.ledger.fault("\(self.plan.name) lost its connection without a reason")
        }
        self.connectionEnded(.abrupt(self.now), connection)
        self.connectsAt = self.now + UInt64.random(in: 0...300_000_000, using: &random)
    }

    private func connectionEnded(_ end: Ledger.Will.End, _ connection: ClientConnection) {
        self.ledger.note(
            "\(self.plan.name) \(connection.isOpen ? "left" : "gave up") \(connection.listener.name): \(end)"
        )
        self.connection = nil
        self.unacknowledged = []
        self.cameHere = []
        self.toAcknowledge = []
        if !self.plan.lasts {
            self.forgetSession()
            self.receiver.orderedSince = [:]
        }
        guard let will = self.will else { return }
        self.will = nil
        let seen = self.simulation.end(of: will, end, connection)
        self.ledger.wills[will]?.end = seen
    }

    private func forgetSession() {
        self.underWay = []
        self.held = [:]
        self.subscribed = []
    }

    /// Goes without a word, and comes back after a while.
    func breakOff(_ random: inout SeededRandom) {
        guard let connection = self.connection else { return }
        connection.breakOff(after: Int.random(in: 0...connection.output.count, using: &random))
        self.connectionEnded(.abrupt(self.now), connection)
        self.connectsAt = self.now + UInt64.random(in: 0...3_000_000_000, using: &random)
    }

    // MARK: Connecting

    private func connect(_ random: inout SeededRandom) {
        guard let listener = self.simulation.listeners.randomElement(using: &random),
            let connection = ClientConnection(
                listener,
                path: self.simulation.path(of: listener),
                version: self.plan.version
            )
        else {
            self.connectsAt = self.now + 50 * Nanoseconds.perMillisecond
            return
        }
        self.connection = connection
        self.aliases = [:]
        self.aliasedTopics = [:]
        self.connackBy = self.now + 20 * Nanoseconds.perSecond
        var properties = Properties()
        if self.plan.version == .v5_0 {
            if self.plan.lasts { properties.sessionExpiryInterval = 3600 }
            properties.receiveMaximum = self.plan.receiveMaximum
            if self.plan.takesAliases { properties.topicAliasMaximum = 3 }
        }
        let password = self.plan.credentials == .wrong ? "wrong" : "secret of \(self.plan.name)"
        let packet = ConnectPacket(
            version: self.plan.version,
            cleanStart: !self.plan.lasts,
            clientIdentifier: Array(self.plan.name.utf8),
            will: self.plan.hasWill ? self.makeWill(connection, &random) : nil,
            userName: Array(self.plan.name.utf8),
            password: Array(password.utf8),
            properties: properties
        )
        connection.output += Packet.connect(packet).bytes(self.plan.version)
        connection.flush()
    }

    private func makeWill(_ connection: ClientConnection, _ random: inout SeededRandom) -> ConnectPacket.Will {
        self.willNumber += 1
        let payload = "will of \(self.plan.name) \(self.willNumber)"
        let delay = UInt32.random(in: 0...2, using: &random)
        self.ledger.wills[payload] = Ledger.Will(delay: UInt64(delay) * Nanoseconds.perSecond, connection: connection)
        self.will = payload
        var properties = Properties()
        properties.willDelayInterval = delay
        return ConnectPacket.Will(
            qos: .exactlyOnce,
            retain: false,
            topic: Array("w/\(self.plan.name)".utf8),
            payload: Array(payload.utf8),
            properties: properties
        )
    }

    private func take(_ connack: ConnackPacket) {
        guard let connection = self.connection else { return }
        guard connack.returnCode == 0 else { return self.refused(connack.returnCode, connection) }
        if self.plan.credentials == .wrong { self.ledger.fault("\(self.plan.name) came in with a wrong password") }
        connection.isOpen = true
        self.ledger.note(
            "\(self.plan.name) came to \(connection.listener.name)\(connack.sessionPresent ? "" : " with a new session")"
        )
        // MQTT 3.1 does not say.
        let isUnsaid = self.plan.version == .v3_1
        let isPresent = isUnsaid ? self.hasSession && !self.mayHaveLostSession : connack.sessionPresent
        self.mayGetRepetitions = isPresent || isUnsaid
        if isPresent && !self.plan.lasts { self.ledger.fault("\(self.plan.name) wanted a new session") }
        if !isPresent, self.hasSession {
            if !self.mayHaveLostSession { self.ledger.fault("\(self.plan.name)'s session is gone") }
            self.forgetSession()
            self.receiver.subscribedAt = [:]
            self.receiver.orderedSince = [:]
        }
        self.mayHaveLostSession = false
        if self.simulation.isDoubtful { self.isInDoubt = true }
        if self.simulation.routerDiedInDoubt {
            self.isInDoubt = true
            self.routerDiedInDoubt()
        }
        self.hasSession = self.plan.lasts
        for (payload, will) in self.ledger.wills where payload != self.will && will.nextConnectionAt == nil {
            if payload.hasPrefix("will of \(self.plan.name) ") {
                self.ledger.wills[payload]?.nextConnectionAt = self.now
                self.simulation.isBack(payload, connection)
            }
        }
        self.sendAgain(connection)
        for (index, subscription) in self.filters.enumerated() {
            let identifier = UInt16(60_000 + index)
            guard !self.subscribed.contains(identifier) else { continue }
            let wanted = SubscribePacket.Subscription(filter: Array(subscription.filter.utf8), qos: subscription.qos)
            let further = (0..<self.plan.furtherFilters).map {
                SubscribePacket.Subscription(filter: Array("none/\($0)".utf8), qos: .atMostOnce)
            }
            let packet = SubscribePacket(packetIdentifier: identifier, subscriptions: further + [wanted])
            connection.output += Packet.subscribe(packet).bytes(self.plan.version)
        }
    }

    private func refused(_ code: UInt8, _ connection: ClientConnection) {
        connection.close()
        self.connectionEnded(.abrupt(self.now), connection)
        self.connectsAt = self.now + (self.simulation.isCalm ? 1000 : 100) * Nanoseconds.perMillisecond
        self.ledger.note("\(self.plan.name) was refused with \(code)")
        guard !self.mayBeRefused else { return }
        // 3 and the like are of MQTT 3; Redis may be away, and the broker may be on its way out.
        let unavailable: [UInt8] = [3, 0x88, 0x89, 0x8B]
        guard unavailable.contains(code) else {
            return self.ledger.fault("\(self.plan.name) was refused with \(code)")
        }
        if self.simulation.isCalm, self.simulation.hasBeenCalm {
            self.ledger.fault("\(self.plan.name) was refused with \(code)")
        }
    }

    // MARK: Publishing

    private func publish(_ random: inout SeededRandom) {
        guard let connection = self.connection else { return }
        let qos = [QoS.atMostOnce, .atLeastOnce, .exactlyOnce][Int.random(in: 0..<3, using: &random)]
        let isRetained = random.oneIn(8)
        let topic = "\(isRetained ? "r" : random.oneIn(3) ? "u" : "t")/\(self.plan.name)/\(qos.rawValue)"
        self.numbers[topic, default: 0] += 1
        let number = self.numbers[topic, default: 0]
        var payload = "\(topic) \(number)"
        self.ledger.sends(
            Ledger.Message(
                topic: topic,
                qos: qos,
                number: number,
                sentAt: self.ledger.tick(),
                isSentInDoubt: self.simulation.isDoubtful
            ),
            payload: payload
        )
        // Some are long, so that pieces of them are under way.
        if random.oneIn(10) {
            payload = Self.long(payload, Int.random(in: 0..<3000, using: &random))
        }
        var packet = PublishPacket(qos: qos, retain: isRetained, topic: Array(topic.utf8), payload: Array(payload.utf8))
        if qos != .atMostOnce {
            repeat {
                self.identifier = self.identifier % 30 + 1
            } while self.underWay.contains { $0.identifier == self.identifier }
            packet.packetIdentifier = self.identifier
            self.underWay.append(UnderWay(identifier: self.identifier, packet: packet))
        }
        if self.plan.version == .v5_0, random.oneIn(2) { self.useAlias(topic, &packet, &random) }
        connection.output += Packet.publish(packet).bytes(self.plan.version)
    }

    /// Two aliases for all topics, so that each is given to another one again and again.
    private func useAlias(_ topic: String, _ packet: inout PublishPacket, _ random: inout SeededRandom) {
        if let alias = self.aliases[topic] {
            packet.topic = []
            packet.properties.topicAlias = alias
        } else {
            let alias = UInt16.random(in: 1...2, using: &random)
            self.aliases = self.aliases.filter { $0.value != alias }
            self.aliases[topic] = alias
            packet.properties.topicAlias = alias
        }
    }

    /// [MQTT-4.4.0-1]
    private func sendAgain(_ connection: ClientConnection) {
        for message in self.underWay {
            if message.isReceived {
                let pubrel = AcknowledgementPacket(packetIdentifier: message.identifier)
                connection.output += Packet.pubrel(pubrel).bytes(self.plan.version)
            } else {
                var packet = message.packet
                packet.dup = true
                self.ledger.isSentAgain(Self.payload(packet))
                connection.output += Packet.publish(packet).bytes(self.plan.version)
            }
        }
    }

    private static func payload(_ packet: PublishPacket) -> String {
        let text = String(decoding: packet.payload, as: UTF8.self)
        guard let end = text.firstIndex(of: "~") else { return text }
        let payload = String(text[..<end])
        guard let count = Int(text[end...].dropFirst().prefix { $0 != "~" }), text == Self.long(payload, count) else {
            return "damaged: \(payload)"
        }
        return payload
    }

    /// The payload with so many bytes behind it that depend on it and on their places.
    private static func long(_ payload: String, _ count: Int) -> String {
        var text = "\(payload)~\(count)~"
        for place in 0..<count { text.append("\((place / 7 + place * payload.utf8.count) % 10)") }
        return text
    }

    private func answered(_ answer: AcknowledgementPacket, _ type: PacketType) {
        guard let index = self.underWay.firstIndex(where: { $0.identifier == answer.packetIdentifier }) else {
            return self.ledger.fault("\(self.plan.name) got \(type) \(answer.packetIdentifier) for nothing")
        }
        let message = self.underWay[index]
        let expected: PacketType =
            message.packet.qos == .atLeastOnce ? .puback : message.isReceived && type != .pubrec ? .pubcomp : .pubrec
        guard type == expected else {
            return self.ledger.fault("\(self.plan.name) got \(type) \(answer.packetIdentifier) instead of \(expected)")
        }
        let payload = Self.payload(message.packet)
        if answer.reasonCode.isFailure {
            self.underWay.remove(at: index)
            self.ledger.ended(payload, .refused)
            if answer.reasonCode != .quotaExceeded || !self.simulation.disksWereFull {
                self.ledger.fault("\(payload) was refused with \(answer.reasonCode)")
            }
            return
        }
        if type == .pubrec {
            self.underWay[index].isReceived = true
            let pubrel = AcknowledgementPacket(packetIdentifier: answer.packetIdentifier)
            self.connection?.output += Packet.pubrel(pubrel).bytes(self.plan.version)
        } else {
            self.ledger.ended(payload, .acknowledged)
            self.underWay.remove(at: index)
        }
    }

    // MARK: Receiving

    private func take(_ packet: Packet) {
        self.ledger.note("\(self.plan.name) gets \(Self.brief(packet))")
        switch packet {
        case .connack(let connack): self.take(connack)
        case .puback(let answer): self.answered(answer, .puback)
        case .pubrec(let answer): self.answered(answer, .pubrec)
        case .pubcomp(let answer): self.answered(answer, .pubcomp)
        case .publish(let publish): self.took(publish)
        case .pubrel(let pubrel):
            self.held[pubrel.packetIdentifier] = nil
            self.unacknowledged.remove(pubrel.packetIdentifier)
            let pubcomp = AcknowledgementPacket(packetIdentifier: pubrel.packetIdentifier)
            self.connection?.output += Packet.pubcomp(pubcomp).bytes(self.plan.version)
        case .suback(let suback): self.took(suback)
        case .disconnect(let disconnect):
            let expected: [ReasonCode] = [.serverShuttingDown, .useAnotherServer]
            if !expected.contains(disconnect.reasonCode), !self.mayBeRefused {
                self.ledger.fault("\(self.plan.name) was sent away: \(disconnect.reasonCode)")
            }
        default: self.ledger.fault("\(self.plan.name) got \(packet)")
        }
    }

    private static func brief(_ packet: Packet) -> String {
        switch packet {
        case .publish(let publish):
            let dup = publish.dup ? " again" : ""
            return "PUBLISH \(publish.packetIdentifier) QoS \(publish.qos.rawValue)\(dup): \(Self.payload(publish))"
        case .puback(let answer), .pubrec(let answer), .pubrel(let answer), .pubcomp(let answer):
            return "\(packet.type) \(answer.packetIdentifier) \(answer.reasonCode)"
        default: return "\(packet.type)"
        }
    }

    private func took(_ suback: SubackPacket) {
        let index = Int(suback.packetIdentifier) - 60_000
        guard self.filters.indices.contains(index), suback.returnCodes.allSatisfy({ $0 < 0x80 }) else {
            if !self.simulation.disksWereFull { self.ledger.fault("\(self.plan.name) got \(suback)") }
            return
        }
        self.subscribed.insert(suback.packetIdentifier)
        if self.simulation.isDoubtful || self.simulation.routerDiedInDoubt { self.isInDoubt = true }
        self.noteSubscribed(index)
    }

    private func noteSubscribed(_ index: Int) {
        let filter = self.plan.group == nil ? self.filters[index].filter : "t/#"
        let now = self.ledger.tick()
        self.receiver.orderedSince[String(filter.dropLast())] = now
        if self.plan.lasts { self.receiver.subscribedAt[String(filter.dropLast())] = now }
    }

    private func took(_ publish: PublishPacket) {
        let payload = Self.payload(publish)
        var topic = String(decoding: publish.topic, as: UTF8.self)
        if let alias = publish.properties.topicAlias {
            if topic.isEmpty { topic = self.aliasedTopics[alias] ?? "" } else { self.aliasedTopics[alias] = topic }
        }
        if !payload.hasPrefix("will of "), !payload.hasPrefix("\(topic) ") || topic.isEmpty {
            self.ledger.fault("\(self.plan.name) got \(payload) at \(topic)")
        }
        let identifier = publish.packetIdentifier
        if let before = self.held[identifier], publish.qos != .atMostOnce {
            if before != payload {
                self.ledger.fault("\(self.plan.name) got \(payload) with the identifier of \(before)")
            }
        } else {
            // One that is published just after the subscription comes as a new message, and the older one does not.
            self.retained[topic] = payload
            if !publish.retain { self.count(topic, payload) }
        }
        guard publish.qos != .atMostOnce else { return }
        if publish.qos == .exactlyOnce { self.held[identifier] = payload }
        // On one connection nothing is sent again [MQTT-4.4.0-1].
        if !self.unacknowledged.insert(identifier).inserted {
            self.ledger.fault("\(self.plan.name) got \(payload) with identifier \(identifier), which is in use")
        }
        if !self.cameHere.insert("\(identifier) \(payload)").inserted, publish.dup, !self.mayGetRepetitions {
            self.ledger.fault("\(self.plan.name) got \(payload) as a repetition, on the connection that it came on")
        }
        if let maximum = self.plan.receiveMaximum, self.unacknowledged.count > maximum {
            self.ledger.fault("\(self.plan.name) got more than \(maximum) messages at once")
        }
        if publish.qos == .exactlyOnce {
            self.connection?.output += Packet.pubrec(AcknowledgementPacket(packetIdentifier: identifier)).bytes(
                self.plan.version
            )
        } else {
            self.toAcknowledge.append(identifier)
        }
    }

    private func count(_ topic: String, _ payload: String) {
        if topic.hasPrefix("w/") {
            if self.plan.lasts { self.ledger.willCame(payload) }
        } else {
            if self.ledger.messages[payload] == nil {
                self.ledger.fault("\(self.plan.name) got \(payload), which nobody sent")
            }
            self.receiver.got(payload, self.ledger.messages[payload])
        }
    }

    private func acknowledge() -> Bool {
        guard !self.toAcknowledge.isEmpty else { return false }
        for identifier in self.toAcknowledge {
            self.connection?.output += Packet.puback(AcknowledgementPacket(packetIdentifier: identifier)).bytes(
                self.plan.version
            )
            self.unacknowledged.remove(identifier)
        }
        self.toAcknowledge = []
        return true
    }
}
