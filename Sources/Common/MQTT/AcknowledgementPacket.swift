/// PUBACK, PUBREC, PUBREL, PUBCOMP: sections 3.4 to 3.7.
package struct AcknowledgementPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(packetIdentifier: UInt16, reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.packetIdentifier = packetIdentifier
        self.reasonCode = reasonCode
        self.properties = properties
    }
}
