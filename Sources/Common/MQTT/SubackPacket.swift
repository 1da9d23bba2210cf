/// Section 3.9. `returnCodes` are bytes on the wire: in 3.1.1 the granted QoS or 0x80.
package struct SubackPacket: Equatable, Sendable {
    package var packetIdentifier: UInt16
    package var properties: Properties
    package var returnCodes: [UInt8]

    package init(packetIdentifier: UInt16, properties: Properties = Properties(), returnCodes: [UInt8]) {
        self.packetIdentifier = packetIdentifier
        self.properties = properties
        self.returnCodes = returnCodes
    }
}
