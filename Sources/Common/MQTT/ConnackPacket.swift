/// Section 3.2. `returnCode` is the byte on the wire: a reason code in 5.0, a return code of table 3.1 in 3.1 and 3.1.1.
package struct ConnackPacket: Equatable, Sendable {
    package var sessionPresent: Bool
    package var returnCode: UInt8
    package var properties: Properties

    package init(sessionPresent: Bool, returnCode: UInt8, properties: Properties = Properties()) {
        self.sessionPresent = sessionPresent
        self.returnCode = returnCode
        self.properties = properties
    }
}
