import Glibc

/// The topic aliases used towards one connection (MQTT 5.0, section 3.3.2.3.4): for topics that come again and again.
///
/// A topic gets an alias when it is seen again among the last few that have none. When all aliases are taken, each such
/// candidate wears down the use count of the least used one, and takes its place when that is down to nothing: so a topic that
/// was busy once does not keep its alias for ever, and a flood of topics that each come twice does not push out the busy ones.
final class OutboundAliases {
    enum Choice: Equatable {
        /// The topic in full, no alias.
        case none
        /// The topic in full, which the alias stands for from now on.
        case introduce(UInt16)
        /// The alias alone.
        case use(UInt16)
    }

    private struct Entry {
        var hash: UInt64
        var uses: UInt16
        var topic: [UInt8]
    }

    /// An alias takes three bytes itself: shorter topics are not worth it.
    static let topicBytesMin = 6
    /// What introducing one adds to a packet, with a length field that grows for it, or two.
    static let packetBytesAddedMax = 5
    private static let usesMax: UInt16 = 1000

    /// The alias is the place plus one.
    private var entries: [Entry] = []
    /// Hashes of the last topics without alias.
    private var candidates: [UInt64] = []
    private var nextCandidate = 0
    private let maximum: Int

    /// - Parameter maximum: aliases from 1 to this; at least 1.
    init(maximum: Int) {
        self.maximum = maximum
    }

    /// What the next packet, which must be written to the connection, does about its topic.
    func choose(_ topic: UnsafeRawBufferPointer) -> Choice {
        let hash = Self.hash(topic)
        var least = 0
        for position in self.entries.indices {
            if self.entries[position].hash == hash,
                self.entries[position].topic.withUnsafeBytes({ equalBytes($0, topic) })
            {
                if self.entries[position].uses < Self.usesMax { self.entries[position].uses += 1 }
                return .use(UInt16(truncatingIfNeeded: position + 1))
            }
            if self.entries[position].uses < self.entries[least].uses { least = position }
        }
        guard self.candidates.contains(hash) else {
            self.addCandidate(hash)
            return .none
        }
        let entry = Entry(hash: hash, uses: 2, topic: [UInt8](topic))
        if self.entries.count < self.maximum {
            self.entries.append(entry)
            return .introduce(UInt16(truncatingIfNeeded: self.entries.count))
        }
        self.entries[least].uses -= 1
        guard self.entries[least].uses == 0 else { return .none }
        self.entries[least] = entry
        return .introduce(UInt16(truncatingIfNeeded: least + 1))
    }

    private func addCandidate(_ hash: UInt64) {
        if self.candidates.count < self.maximum * 2 {
            self.candidates.append(hash)
        } else {
            self.candidates[self.nextCandidate] = hash
            self.nextCandidate = (self.nextCandidate + 1) % self.candidates.count
        }
    }

    private static func hash(_ topic: UnsafeRawBufferPointer) -> UInt64 {
        var state = UInt64(truncatingIfNeeded: topic.count)
        var position = 0
        while position < topic.count {
            var word: UInt64 = 0
            if position + 8 <= topic.count {
                word = topic.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            } else {
                for byte in topic[position...] { word = word << 8 | UInt64(byte) }
            }
            let product = (state ^ word).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
            state = product.high ^ product.low
            position += 8
        }
        return state
    }
}
