/// Section 3.1.
package struct ConnectPacket: Equatable, Sendable {
    package struct Will: Equatable, Sendable {
        package var qos: QoS
        package var retain: Bool
        package var topic: [UInt8]
        package var payload: [UInt8]
        package var properties: Properties

        package init(qos: QoS, retain: Bool, topic: [UInt8], payload: [UInt8], properties: Properties = Properties()) {
            self.qos = qos
            self.retain = retain
            self.topic = topic
            self.payload = payload
            self.properties = properties
        }
    }

    package var version: ProtocolVersion
    /// "Clean session" in 3.1 and 3.1.1.
    package var cleanStart: Bool
    package var keepAliveSeconds: UInt16
    package var clientIdentifier: [UInt8]
    package var will: Will?
    package var userName: [UInt8]?
    package var password: [UInt8]?
    package var properties: Properties
    /// Protocol level with 0x80 set: bridges of mosquitto and others say so that they are one, and want retain flags kept.
    package var isBridge: Bool

    package init(
        version: ProtocolVersion,
        cleanStart: Bool = true,
        keepAliveSeconds: UInt16 = 0,
        clientIdentifier: [UInt8] = [],
        will: Will? = nil,
        userName: [UInt8]? = nil,
        password: [UInt8]? = nil,
        properties: Properties = Properties(),
        isBridge: Bool = false
    ) {
        self.version = version
        self.cleanStart = cleanStart
        self.keepAliveSeconds = keepAliveSeconds
        self.clientIdentifier = clientIdentifier
        self.will = will
        self.userName = userName
        self.password = password
        self.properties = properties
        self.isBridge = isBridge
    }
}
