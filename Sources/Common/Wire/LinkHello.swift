/// The first frame each way on a link: who speaks, which wire versions, and how much credit it grants.
public struct LinkHello: Equatable, Sendable {
    public enum Role: UInt8, Sendable {
        case listener = 1
        case router = 2
        case authWorker = 3
        case tool = 4
    }

    /// Versions of the frames that this release speaks; the highest common one is used.
    public static let wireVersionMin: UInt8 = 3
    public static let wireVersionMax: UInt8 = 4
    /// What a release does beside the frames of its wire version. Earlier ones send no bits, and look at none.
    public struct Features: OptionSet, Sendable {
        /// A listener tells at once what its clients have taken while little of the link's credit is left: see `RouterLink.admits`.
        public static let promptCredit = Features(rawValue: 1)
        public static let all: Features = [.promptCredit]

        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }
    }

    private static let magic: UInt32 = 0x4C54_524D  // "MRTL"

    public var role: Role
    public var wireVersionMin: UInt8
    public var wireVersionMax: UInt8
    public var features: Features
    /// 16 random bytes, new with every start of the process.
    public var bootID: [UInt8]
    /// The listener's name in logs, such as `listener-1`.
    public var name: [UInt8]
    /// PUBLISH bytes that the receiver of this hello may have under way per session before credit returns.
    public var sessionCreditBytes: UInt32
    /// The same for all sessions of the link together.
    public var linkCreditBytes: UInt32

    public init(
        role: Role,
        bootID: [UInt8],
        name: [UInt8],
        sessionCreditBytes: UInt32 = 0,
        linkCreditBytes: UInt32 = 0,
        wireVersionMin: UInt8 = LinkHello.wireVersionMin,
        wireVersionMax: UInt8 = LinkHello.wireVersionMax,
        features: Features = .all
    ) {
        precondition(bootID.count == 16, "a boot id has 16 bytes")
        self.role = role
        self.wireVersionMin = wireVersionMin
        self.wireVersionMax = wireVersionMax
        self.features = features
        self.bootID = bootID
        self.name = name
        self.sessionCreditBytes = sessionCreditBytes
        self.linkCreditBytes = linkCreditBytes
    }

    public func encode(into buffer: inout ByteBuffer) {
        let position = buffer.beginFrame(.linkHello)
        buffer.writeLittleEndian(Self.magic)
        buffer.write(self.role.rawValue)
        buffer.write(self.wireVersionMin)
        buffer.write(self.wireVersionMax)
        buffer.write(self.features.rawValue)
        buffer.write(self.bootID)
        buffer.writeLittleEndian(self.sessionCreditBytes)
        buffer.writeLittleEndian(self.linkCreditBytes)
        buffer.writeField(self.name)
        buffer.endFrame(at: position)
    }

    /// Nil when it is no hello. Bytes after the known fields are left to later versions.
    public static func decode(_ frame: Frame) -> LinkHello? {
        var reader = ByteReader(frame.body)
        guard frame.kind == .linkHello,
            reader.readLittleEndian(UInt32.self) == Self.magic,
            let role = reader.readUInt8().flatMap(Role.init(rawValue:)),
            let versionMin = reader.readUInt8(),
            let versionMax = reader.readUInt8(),
            let features = reader.readUInt8(),
            let bootID = reader.readBytes(16),
            let sessionCredit = reader.readLittleEndian(UInt32.self),
            let linkCredit = reader.readLittleEndian(UInt32.self),
            let name = reader.readField()
        else { return nil }
        return LinkHello(
            role: role,
            bootID: [UInt8](bootID),
            name: name,
            sessionCreditBytes: sessionCredit,
            linkCreditBytes: linkCredit,
            wireVersionMin: versionMin,
            wireVersionMax: versionMax,
            features: Features(rawValue: features)
        )
    }

    /// Its sender knows of QoS 2 messages that listeners keep (`SessionAttach.Exchanges`).
    public var takesExchanges: Bool { self.wireVersionMax >= SessionAttach.exchangesVersion }

    /// The wire version to speak with `peer`; nil when there is none in common.
    public func commonVersion(with peer: LinkHello) -> UInt8? {
        let highest = min(self.wireVersionMax, peer.wireVersionMax)
        let lowest = max(self.wireVersionMin, peer.wireVersionMin)
        return highest >= lowest ? highest : nil
    }
}
