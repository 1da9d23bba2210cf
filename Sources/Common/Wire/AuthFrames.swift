/// Listener to auth worker: may this client in? The frame's handle numbers the request.
public struct AuthQuery: Equatable, Sendable {
    public var listenerName: [UInt8]
    /// Which of `authorization.rules` applies to clients of that listener.
    public var rulesName: [UInt8]
    public var peerAddress: [UInt8]
    public var version: ProtocolVersion
    public var identity: CertificateIdentity?
    public var clientIdentifier: [UInt8]
    public var userName: [UInt8]?
    public var password: [UInt8]?
    /// Set for a live session whose right to be there is looked at again: the tag that its verdict carried. There is no password
    /// then, the listener keeps none; the worker answers for the row as it is now, with its tag.
    public var revalidatedTag: [UInt8]?

    public init(
        listenerName: [UInt8],
        rulesName: [UInt8],
        peerAddress: [UInt8],
        version: ProtocolVersion,
        identity: CertificateIdentity?,
        clientIdentifier: [UInt8],
        userName: [UInt8]?,
        password: [UInt8]?,
        revalidatedTag: [UInt8]? = nil
    ) {
        self.listenerName = listenerName
        self.rulesName = rulesName
        self.peerAddress = peerAddress
        self.version = version
        self.identity = identity
        self.clientIdentifier = clientIdentifier
        self.userName = userName
        self.password = password
        self.revalidatedTag = revalidatedTag
    }

    public func encode(into buffer: inout ByteBuffer, request: UInt64) {
        let position = buffer.beginFrame(.authQuery, handle: request)
        self.encodeBody(into: &buffer, password: self.password)
        buffer.endFrame(at: position)
    }

    /// What `decode` takes, with another password or none.
    public func encodeBody(into buffer: inout ByteBuffer, password: [UInt8]?) {
        buffer.writeField(self.listenerName)
        buffer.writeField(self.rulesName)
        buffer.writeField(self.peerAddress)
        buffer.write(self.version.rawValue)
        buffer.writeField(self.identity)
        buffer.writeField(self.clientIdentifier)
        buffer.writeOptionalField(self.userName)
        buffer.writeOptionalField(password)
        buffer.writeOptionalField(self.revalidatedTag)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AuthQuery? {
        var reader = ByteReader(body)
        guard let listenerName = reader.readField(),
            let rulesName = reader.readField(),
            let peerAddress = reader.readField(),
            let version = reader.readUInt8().flatMap(ProtocolVersion.init(rawValue:)),
            let identity = reader.readIdentity(),
            let clientIdentifier = reader.readField(),
            let userName = reader.readOptionalField(),
            let password = reader.readOptionalField(),
            let revalidatedTag = reader.readOptionalField(),
            reader.isAtEnd
        else { return nil }
        return AuthQuery(
            listenerName: listenerName,
            rulesName: rulesName,
            peerAddress: peerAddress,
            version: version,
            identity: identity,
            clientIdentifier: clientIdentifier,
            userName: userName,
            password: password,
            revalidatedTag: revalidatedTag
        )
    }
}

/// Auth worker to listener: the answer to the query with the same handle.
public struct AuthVerdict: Equatable, Sendable {
    public enum Outcome: UInt8, Sendable {
        case deny = 0
        case allow = 1
        /// Nobody can say: Redis is unreachable or answers errors, or the file of devices cannot be read, and nothing usable is cached.
        /// Never a deny, never an allow.
        case unknown = 2
    }

    /// Why not, as the log of the listener says it. With `allow`, which only live sessions get it with: why a source before the one that
    /// allows could not say, so that the session is to be asked about again.
    public enum Reason: UInt8, Sendable, CaseIterable, CustomStringConvertible {
        case none = 0
        case noSuchDevice = 1
        case wrongPassword = 2
        case passwordMissing = 3
        /// The command's template needs a field (a certificate's common name, a user name) that the client lacks.
        case fieldMissing = 4
        /// A field holds bytes that may not go into a command or a topic.
        case fieldNotAllowed = 5
        case redisUnavailable = 6
        case redisError = 7
        case overloaded = 8
        /// The device is known, and somebody has said that it is not let in.
        case deviceDisabled = 9
        /// The embedded source's file cannot be read.
        case deviceFileUnavailable = 10
        /// Listener and auth worker were started with different configurations.
        case rulesMissing = 11
        /// The device has no password and logs in by its certificate; the client has none with the device's name.
        case certificateMissing = 12
        /// Redis has a row, and a value in it, or all of it, is longer than what is taken.
        case rowTooLong = 13
        /// There is a row, and no password fits what it has for one: the row is to be put right, not the device.
        case rowUnusable = 14

        /// As logs, counters and `martlet why` name it.
        public var description: String {
            switch self {
            case .none: "denied"
            case .noSuchDevice: "no-such-device"
            case .wrongPassword: "wrong-password"
            case .passwordMissing: "password-missing"
            case .fieldMissing: "field-missing"
            case .fieldNotAllowed: "field-not-allowed"
            case .redisUnavailable: "redis-unavailable"
            case .redisError: "redis-error"
            case .overloaded: "auth-overloaded"
            case .deviceDisabled: "device-disabled"
            case .deviceFileUnavailable: "device-file-unavailable"
            case .rulesMissing: "rules-missing"
            case .certificateMissing: "certificate-missing"
            case .rowTooLong: "row-too-long"
            case .rowUnusable: "row-unusable"
            }
        }
    }

    public enum Source: UInt8, Sendable, CaseIterable, CustomStringConvertible {
        case none = 0
        case redis = 1
        case memoryCache = 2
        case diskCache = 3
        /// From a cache, older than its time to live, because Redis is unreachable.
        case staleCache = 4
        /// The certificate alone.
        case certificate = 5
        /// The file of devices.
        case embedded = 6

        /// As `martlet why` and `martlet auth test` name it.
        public var description: String {
            switch self {
            case .none: "nobody"
            case .redis: "redis"
            case .memoryCache: "memory-cache"
            case .diskCache: "disk-cache"
            case .staleCache: "stale-cache"
            case .certificate: "certificate"
            case .embedded: "embedded"
            }
        }
    }

    public var outcome: Outcome
    public var reason: Reason
    public var source: Source
    /// For the log: which field is missing, what Redis said. Never a secret.
    public var detail: [UInt8]
    public var access: AccessRules
    /// HMAC over the stored hash and salt: names the credentials that were checked without telling them. Empty unless allowed.
    public var credentialTag: [UInt8]
    /// Of the rendered look-up key; changes are announced under it. 0 without a look-up.
    public var keyHash: UInt64
    /// The same of other keys that the answer was made from. Not in the frame: `AuthConsulted` tells them.
    public var relatedKeyHashes: [UInt64]

    public init(
        outcome: Outcome,
        reason: Reason = .none,
        source: Source = .none,
        detail: [UInt8] = [],
        access: AccessRules = AccessRules(noMatch: .deny),
        credentialTag: [UInt8] = [],
        keyHash: UInt64 = 0,
        relatedKeyHashes: [UInt64] = []
    ) {
        self.outcome = outcome
        self.reason = reason
        self.source = source
        self.detail = detail
        self.access = access
        self.credentialTag = credentialTag
        self.keyHash = keyHash
        self.relatedKeyHashes = relatedKeyHashes
    }

    public func encode(into buffer: inout ByteBuffer, request: UInt64) {
        let position = buffer.beginFrame(.authVerdict, handle: request)
        buffer.write(self.outcome.rawValue)
        buffer.write(self.reason.rawValue)
        buffer.write(self.source.rawValue)
        buffer.writeField(self.detail)
        buffer.writeField(self.access)
        buffer.writeField(self.credentialTag)
        buffer.writeLittleEndian(self.keyHash)
        buffer.endFrame(at: position)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AuthVerdict? {
        var reader = ByteReader(body)
        guard let outcome = reader.readUInt8().flatMap(Outcome.init(rawValue:)),
            let reason = reader.readUInt8().flatMap(Reason.init(rawValue:)),
            let source = reader.readUInt8().flatMap(Source.init(rawValue:)),
            let detail = reader.readField(),
            let access = reader.readAccessRules(),
            let credentialTag = reader.readField(),
            let keyHash = reader.readLittleEndian(UInt64.self),
            reader.isAtEnd
        else { return nil }
        return AuthVerdict(
            outcome: outcome,
            reason: reason,
            source: source,
            detail: detail,
            access: access,
            credentialTag: credentialTag,
            keyHash: keyHash
        )
    }
}

/// Auth worker to listener, just ahead of the verdict for the same query: keys whose changes are of interest beside that of the verdict.
/// First those of sources that came before the one that decided, which would have been the ones to decide if they knew the client; then
/// those of access rows and of superusers' marks.
///
/// ```
///  | count × key hash UInt64 |
/// ```
public struct AuthConsulted: Equatable, Sendable {
    /// Of more keys the first ones.
    public static let keysMax = 64

    /// As `AuthVerdict.keyHash`.
    public var keyHashes: [UInt64]

    public init(keyHashes: [UInt64]) {
        self.keyHashes = keyHashes
    }

    public func encode(into buffer: inout ByteBuffer, request: UInt64) {
        let hashes = self.keyHashes.prefix(Self.keysMax)
        buffer.writeFrameHeader(.authConsulted, handle: request, bodyBytes: hashes.count * 8)
        for hash in hashes { buffer.writeLittleEndian(hash) }
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AuthConsulted? {
        guard body.count % 8 == 0, body.count <= Self.keysMax * 8 else { return nil }
        var reader = ByteReader(body)
        var consulted = AuthConsulted(keyHashes: [])
        while let hash = reader.readLittleEndian(UInt64.self) { consulted.keyHashes.append(hash) }
        return consulted
    }
}

/// Listener to auth worker, just ahead of the query about a live session: what let it in. Sources that come before that one did not know
/// the client then, or could not say; those after it have never been asked about him.
///
/// ```
///  | key hash UInt64 |
/// ```
public struct AuthAdmitted: Equatable, Sendable {
    /// As `AuthVerdict.keyHash`.
    public var keyHash: UInt64

    public init(keyHash: UInt64) {
        self.keyHash = keyHash
    }

    public func encode(into buffer: inout ByteBuffer, request: UInt64) {
        buffer.writeFrameHeader(.authAdmitted, handle: request, bodyBytes: 8)
        buffer.writeLittleEndian(self.keyHash)
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AuthAdmitted? {
        var reader = ByteReader(body)
        guard let hash = reader.readLittleEndian(UInt64.self), reader.isAtEnd else { return nil }
        return AuthAdmitted(keyHash: hash)
    }
}

/// Auth worker to listener: rows have changed, so live sessions that were let in by them are to be looked at again.
///
/// ```
///  | all UInt8 | count × key hash UInt64 |
/// ```
public struct AuthChanged: Equatable, Sendable {
    /// More go into another frame.
    public static let keysMax = 65_536

    /// Nobody knows which: all live sessions, at a rate that Redis can stand.
    public var all: Bool
    /// As `AuthVerdict.keyHash`.
    public var keyHashes: [UInt64]

    public init(all: Bool, keyHashes: [UInt64] = []) {
        self.all = all
        self.keyHashes = keyHashes
    }

    public func encode(into buffer: inout ByteBuffer) {
        precondition(self.keyHashes.count <= Self.keysMax, "too many keys for one frame")
        buffer.writeFrameHeader(.authChanged, handle: 0, bodyBytes: 1 + self.keyHashes.count * 8)
        buffer.write(UInt8(self.all ? 1 : 0))
        for hash in self.keyHashes { buffer.writeLittleEndian(hash) }
    }

    /// Nil when the body is broken.
    public static func decode(_ body: UnsafeRawBufferPointer) -> AuthChanged? {
        var reader = ByteReader(body)
        guard let all = reader.readUInt8(), all <= 1, reader.remaining % 8 == 0 else { return nil }
        var changed = AuthChanged(all: all == 1)
        while let hash = reader.readLittleEndian(UInt64.self) { changed.keyHashes.append(hash) }
        return changed
    }
}
