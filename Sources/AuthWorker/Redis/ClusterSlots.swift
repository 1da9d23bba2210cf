import Common

/// Which node of a Redis Cluster has which of the 16,384 slots (Redis Cluster specification, "Key distribution model").
struct ClusterSlots: Equatable {
    static let count = 16_384
    private static let nobody = UInt16.max

    /// All masters that have slots.
    private(set) var masters: [RedisURL.Server] = []
    /// By slot: the place in `masters`.
    private var owners = [UInt16](repeating: Self.nobody, count: Self.count)

    func master(of slot: Int) -> RedisURL.Server? {
        let owner = self.owners[slot]
        return owner == Self.nobody ? nil : self.masters[Int(owner)]
    }

    /// One slot has moved.
    mutating func move(_ slot: Int, to server: RedisURL.Server) {
        guard let place = self.place(of: server) else { return }
        self.owners[slot] = place
    }

    private mutating func place(of server: RedisURL.Server) -> UInt16? {
        if let place = self.masters.firstIndex(of: server) { return UInt16(place) }
        guard self.masters.count < AuthLimits.clusterNodesMax else { return nil }
        self.masters.append(server)
        return UInt16(self.masters.count - 1)
    }

    init() {}

    /// From the reply to CLUSTER SLOTS: arrays of first slot, last slot, master, replicas…; each node is host, port, id.
    ///
    /// - Parameter asked: the node that was asked. One that does not know its own address says nothing there, or "?".
    /// - Throws: `.protocolError` for what is no such reply, `.refused` for an error reply.
    init(_ reply: RedisReply, asked: RedisURL.Server) throws(RedisFailure) {
        if let text = reply.errorText { throw .refused(text) }
        guard case .array(let ranges) = reply else { throw .protocolError("CLUSTER SLOTS did not answer a list") }
        for range in ranges {
            guard case .array(let parts) = range, parts.count >= 3, case .integer(let first) = parts[0],
                case .integer(let last) = parts[1], case .array(let node) = parts[2], node.count >= 2,
                case .integer(let port) = node[1], let port = UInt16(exactly: port), first >= 0, first <= last,
                last < Self.count
            else { throw .protocolError("CLUSTER SLOTS answered something else than ranges of slots") }
            var name: [UInt8] = []
            if case .bulk(let text) = node[0] { name = text }
            guard let server = Self.server(name, port, asked: asked), let place = self.place(of: server) else {
                throw .protocolError("CLUSTER SLOTS names a node without an address, or too many nodes")
            }
            for slot in Int(first)...Int(last) { self.owners[slot] = place }
        }
    }

    /// A node's address as Redis writes it in replies and redirections.
    static func server(_ host: [UInt8], _ port: UInt16, asked: RedisURL.Server) -> RedisURL.Server? {
        if !host.isEmpty, host != [UInt8(ascii: "?")] {
            return .tcp(host: String(decoding: host, as: UTF8.self), port: port)
        }
        guard case .tcp(let own, _) = asked else { return nil }
        return .tcp(host: own, port: port)
    }

    // MARK: Keys

    /// The slot of a key: CRC16 of what stands between the first `{` and the next `}`, or of all.
    static func slot(of key: [UInt8]) -> Int {
        var hashed = key[...]
        if let opening = key.firstIndex(of: UInt8(ascii: "{")) {
            let rest = key[(opening + 1)...]
            if let closing = rest.firstIndex(of: UInt8(ascii: "}")), closing > opening + 1 {
                hashed = key[(opening + 1)..<closing]
            }
        }
        return Int(Self.crc16(hashed)) % Self.count
    }

    /// CRC-16/XMODEM: polynomial 0x1021, start 0.
    static func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var crc: UInt16 = 0
        for byte in bytes {
            crc ^= UInt16(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
        }
        return crc
    }
}
