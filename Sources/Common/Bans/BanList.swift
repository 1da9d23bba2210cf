import Glibc

/// All bans, arranged so that looking one up costs the same whether there are ten or a million.
public struct BanList: Sendable {
    /// One broken line of a file.
    public struct Problem: Error, Equatable, CustomStringConvertible {
        public var description: String
    }

    /// A file with more is refused: some 200 bytes of memory each.
    public static let bansMax = 1_000_000

    public private(set) var bans: [Ban] = []
    /// The place in `bans`; of several with one subject the one that lasts longest.
    private var places: [Ban.Subject: Int] = [:]
    /// Which lengths of prefixes occur among the addresses, IPv4's and IPv6's.
    private var prefixes: [(isVersion4: Bool, bits: Int)] = []

    public init(_ bans: [Ban] = []) {
        for ban in bans { self.add(ban) }
    }

    public var isEmpty: Bool { self.bans.isEmpty }
    public var count: Int { self.bans.count }

    /// Those that have not expired.
    /// - Parameter now: seconds since 1970.
    public func countInForce(at now: Int64) -> Int { self.bans.count { $0.isInForce(at: now) } }

    private mutating func add(_ ban: Ban) {
        if let place = self.places[ban.subject] {
            guard let end = self.bans[place].until else { return }
            if ban.until.map({ $0 > end }) ?? true { self.bans[place] = ban }
            return
        }
        self.places[ban.subject] = self.bans.count
        self.bans.append(ban)
        guard case .address(let range) = ban.subject else { return }
        let prefix = (isVersion4: range.bytes.count == 4, bits: range.prefixBits)
        if !self.prefixes.contains(where: { $0 == prefix }) { self.prefixes.append(prefix) }
    }

    /// - Parameter file: its name, for problems.
    /// - Throws: the first broken line with its place.
    public static func parse(_ text: [UInt8], file: String) throws(Problem) -> BanList {
        var list = BanList()
        for (index, line) in ByteOrderMark.removed(from: text).split(
            separator: UInt8(ascii: "\n"),
            omittingEmptySubsequences: false
        ).enumerated() {
            do throws(ValueError) {
                guard let ban = try Ban.parse(Array(line)) else { continue }
                list.add(ban)
            } catch {
                throw Problem(description: "\(file):\(index + 1): \(error.message)")
            }
            guard list.count <= Self.bansMax else {
                throw Problem(description: "\(file):\(index + 1): there are more than \(Self.bansMax) bans")
            }
        }
        return list
    }

    /// Empty where the file is not there.
    /// - Parameter mayBeMissing: otherwise a file that is not there is a problem too.
    /// - Throws: the file's first mistake with its line, or why it cannot be read.
    public static func load(_ path: String, mayBeMissing: Bool = true) throws(Problem) -> BanList {
        guard access(path, F_OK) == 0 || errno != ENOENT else {
            if mayBeMissing { return BanList() }
            throw Problem(description: "\(path): it is gone; an empty file would lift all bans")
        }
        let text: [UInt8]
        do throws(ValueError) {
            text = try Configuration.readFile(path, bytesMax: Configuration.bansFileBytesMax)
        } catch {
            throw Problem(description: "\(path): \(error.message)")
        }
        return try Self.parse(text, file: path)
    }

    // MARK: Looking up

    private func inForce(_ subject: Ban.Subject, _ now: Int64) -> Ban? {
        guard let place = self.places[subject], self.bans[place].isInForce(at: now) else { return nil }
        return self.bans[place]
    }

    /// - Parameter now: seconds since 1970.
    public func ban(of address: ListenAddress, now: Int64) -> Ban? {
        let unmapped = address.unmapped
        for prefix in self.prefixes {
            let bytes = prefix.isVersion4 ? unmapped.bytes : address.bytes
            guard bytes.count == (prefix.isVersion4 ? 4 : 16) else { continue }
            let range = AddressRange(around: bytes, prefixBits: prefix.bits)
            if let ban = self.inForce(.address(range), now) { return ban }
        }
        return nil
    }

    /// The ban that a client falls under, as far as it is known.
    public func ban(
        ofAddress address: ListenAddress?,
        identity: CertificateIdentity?,
        clientIdentifier: [UInt8],
        now: Int64
    ) -> Ban? {
        address.flatMap { self.ban(of: $0, now: now) } ?? identity.flatMap { self.ban(of: $0, now: now) }
            ?? self.ban(ofClientIdentifier: clientIdentifier, now: now)
    }

    public func ban(of identity: CertificateIdentity, now: Int64) -> Ban? {
        if let commonName = identity.commonName, let ban = self.inForce(.commonName(commonName), now) { return ban }
        return self.inForce(.serialNumber(identity.serialNumber), now)
            ?? self.inForce(.fingerprint(identity.fingerprint), now)
    }

    public func ban(ofClientIdentifier identifier: [UInt8], now: Int64) -> Ban? {
        self.inForce(.clientIdentifier(identifier), now)
    }
}
