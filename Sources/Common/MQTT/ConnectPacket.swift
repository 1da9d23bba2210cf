/// Section 3.1.
public struct ConnectPacket: Equatable, Sendable {
    public struct Will: Equatable, Sendable {
        public var qos: QoS
        public var retain: Bool
        public var topic: [UInt8]
        public var payload: [UInt8]
        public var properties: Properties

        public init(qos: QoS, retain: Bool, topic: [UInt8], payload: [UInt8], properties: Properties = Properties()) {
            self.qos = qos
            self.retain = retain
            self.topic = topic
            self.payload = payload
            self.properties = properties
        }

        /// Of topic, payload, and properties as they are encoded.
        public var byteCount: Int {
            var encoded = ByteBuffer()
            if self.properties != Properties() { self.properties.encode(into: &encoded) }
            return self.topic.count + self.payload.count + encoded.readableBytes
        }
    }

    public var version: ProtocolVersion
    /// "Clean session" in 3.1 and 3.1.1.
    public var cleanStart: Bool
    public var keepAliveSeconds: UInt16
    public var clientIdentifier: [UInt8]
    public var will: Will?
    public var userName: [UInt8]?
    public var password: [UInt8]?
    public var properties: Properties
    /// Protocol level with 0x80 set: bridges of mosquitto and others say so that they are one, and want retain flags kept.
    public var isBridge: Bool

    public init(
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
