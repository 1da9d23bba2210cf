/// Section 3.11. `reasonCodes` is empty in 3.1 and 3.1.1.
package struct UnsubackPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var reasonCodes: [ReasonCode]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), reasonCodes: [ReasonCode] = []) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.reasonCodes = reasonCodes
    }
}
