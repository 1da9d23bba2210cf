/// Section 3.10.
package struct UnsubscribePacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var filters: [[UInt8]]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), filters: [[UInt8]]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.filters = filters
    }
}
