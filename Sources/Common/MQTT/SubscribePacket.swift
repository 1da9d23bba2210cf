/// Section 3.8.
package struct SubscribePacket: Equatable, Sendable {
    package enum RetainHandling: UInt8, Sendable {
        case send = 0
        case sendIfNew = 1
        case doNotSend = 2
    }

    package struct Subscription: Equatable, Sendable {
        package var filter: [UInt8]
        package var qos: QoS
        package var noLocal: Bool
        package var retainAsPublished: Bool
        package var retainHandling: RetainHandling

        package init(
            filter: [UInt8],
            qos: QoS,
            noLocal: Bool = false,
            retainAsPublished: Bool = false,
            retainHandling: RetainHandling = .send
        ) {
            self.filter = filter
            self.qos = qos
            self.noLocal = noLocal
            self.retainAsPublished = retainAsPublished
            self.retainHandling = retainHandling
        }
    }

    package var packetIdentifier: UInt16
    package var properties: Properties
    package var subscriptions: [Subscription]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), subscriptions: [Subscription]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.subscriptions = subscriptions
    }
}
