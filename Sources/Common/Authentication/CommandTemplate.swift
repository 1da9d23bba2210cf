/// The configured Redis command (`HMGET tls_domain:%C password`), taken apart once: split into arguments first and filled in
/// afterwards, so that a value with a space stays one argument.
public struct CommandTemplate: Equatable, Sendable {
    /// What the answer is for.
    public enum Purpose: Equatable, Sendable {
        /// A password or its hash, and perhaps a salt.
        case credentials
        /// Whether there is a row; its password is not looked at.
        case existence
        /// Whether the client may do everything.
        case superuser
        /// What the client may do: pairs of a topic filter and an access.
        case access

        /// Of `authentication` in the configuration.
        public var key: String {
            switch self {
            case .credentials, .existence: "command"
            case .superuser: "super_command"
            case .access: "acl_command"
            }
        }
    }

    /// What a value of the reply means.
    public enum Field: Equatable, Sendable {
        /// The stored hash, or the password itself.
        case secret
        /// The same, used when the field of meaning `secret` is absent: `password` beside `password_hash`.
        case secretOtherwise
        case salt
        case isSuperuser
        case ignored
    }

    public struct Rendered: Equatable, Sendable {
        public var key: LookupKey
        /// All arguments with the command's name in front.
        public var arguments: [[UInt8]]
    }

    /// In capitals.
    public let name: String
    public let purpose: Purpose
    /// One for each value of the reply, in its order; empty: the first value is the secret and the second the salt.
    public let fields: [Field]
    /// The arguments after the name.
    private let arguments: [TemplateText]
    /// Where in them the key stands.
    private let keyIndex: Int
    /// Where in them further keys stand.
    private let furtherKeyIndices: Range<Int>
    private let restIsConstant: Bool
    private let nameBytes: [UInt8]

    /// - Throws: `ConfigurationMistake` with a sentence for whoever wrote the command.
    public init(_ line: String, purpose: Purpose = .credentials) throws(ConfigurationMistake) {
        let arguments: [CommandLineSplitter.Argument]
        var texts: [TemplateText] = []
        func mistake(_ reason: String) -> ConfigurationMistake {
            ConfigurationMistake(subject: "authentication.\(purpose.key) \"\(line)\"", reason: reason)
        }
        do throws(TemplateError) {
            arguments = try CommandLineSplitter.split(Array(line.utf8))
            for argument in arguments { texts.append(try TemplateText(argument.bytes, positions: argument.positions)) }
        } catch {
            throw mistake("\(error.reason) (at character \(error.position))")
        }
        guard let first = arguments.first else { throw mistake("there is no command in it") }
        let name = Self.capitals(first.bytes)
        guard let keyIndex = RedisReadCommand.keyIndex(name) else {
            throw mistake(
                "\(ConfigurationText.shown(name)) is not among the commands that can be used: those that only read, such as "
                    + (purpose == .access ? "HGETALL" : "HGET, HMGET, GET")
            )
        }
        guard texts.count > keyIndex, texts[keyIndex].constant != [] else { throw mistake("it names no key") }
        self.name = name
        self.nameBytes = Array(name.utf8)
        self.purpose = purpose
        self.keyIndex = keyIndex - 1
        self.arguments = Array(texts.dropFirst())
        do throws(TemplateError) {
            let end = try Self.endOfKeys(of: name, texts, first: keyIndex)
            self.furtherKeyIndices = keyIndex..<end - 1
        } catch {
            throw mistake(error.reason)
        }
        self.restIsConstant = self.arguments.indices.allSatisfy { [arguments = self.arguments] index in
            index == keyIndex - 1 || arguments[index].constant != nil
        }
        do throws(TemplateError) {
            self.fields = try Self.fields(of: name, Array(texts.dropFirst(2)), purpose)
        } catch {
            throw mistake(error.reason)
        }
        guard purpose == .access || self.arguments.contains(where: { !$0.placeholders.isEmpty }) else {
            let shared = purpose == .superuser ? "would all be superusers or none" : "would share one password"
            throw mistake("it has no placeholder, so all devices \(shared); there are \(Placeholder.listing)")
        }
    }

    /// What the command asks the client for: all placeholders of its arguments.
    public var placeholders: [Placeholder] { self.arguments.flatMap(\.placeholders) }

    /// What each of its keys begins with, rendered; empty when the key begins with a placeholder.
    public var keyPrefixes: [[UInt8]] {
        ([self.keyIndex] + self.furtherKeyIndices).map { self.arguments[$0].literalPrefix }
    }

    /// It reads more keys than the one that a row is known by.
    public var hasFurtherKeys: Bool { !self.furtherKeyIndices.isEmpty }

    /// Where the key stands in the rendered arguments, the command's name being 0.
    public var keyPlace: Int { self.keyIndex + 1 }

    /// No two look-ups have one Redis key.
    public var hasOneKeyPerRedisKey: Bool { self.restIsConstant && !self.hasFurtherKeys }

    public var asksForSalt: Bool { self.fields.contains(.salt) }

    /// Whether a salt comes is only known when the reply is here.
    public var isPositional: Bool { self.fields.isEmpty }

    /// The command for one client. Throws when the client lacks a value, or has one that may not go into a command.
    public func render(_ client: ClientAttributes) throws(TemplateText.RenderFailure) -> Rendered {
        var rendered: [[UInt8]] = []
        rendered.reserveCapacity(self.arguments.count + 1)
        rendered.append(self.nameBytes)
        var variant: [UInt8] = []
        for (index, text) in self.arguments.enumerated() {
            let argument = try text.render(client)
            rendered.append(argument)
            if self.hasOneKeyPerRedisKey || index == self.keyIndex { continue }
            LookupKey.append(argument, to: &variant)
        }
        let redisKey = rendered[self.keyIndex + 1]
        let furtherKeys = self.furtherKeyIndices.map { rendered[$0 + 1] }.filter { $0 != redisKey }
        let key = LookupKey(redisKey: redisKey, variant: variant, relatedKeys: furtherKeys)
        return Rendered(key: key, arguments: rendered)
    }

    /// Behind the last of the keys, the command's name being 0.
    private static func endOfKeys(
        of name: String,
        _ texts: [TemplateText],
        first: Int
    ) throws(TemplateError) -> Int {
        if RedisReadCommand.allArgumentsAreKeys.contains(name) { return texts.count }
        guard first == 3 else { return first + 1 }
        // The scripts: how many keys there are stands before them.
        guard let text = texts[2].constant, let count = Int(String(decoding: text, as: UTF8.self)), count > 0,
            count <= texts.count - first
        else {
            throw TemplateError(reason: "\(name) takes a script, the number of its keys, and so many keys", position: 1)
        }
        return first + count
    }

    private static func fields(
        of name: String,
        _ rest: [TemplateText],
        _ purpose: Purpose
    ) throws(TemplateError) -> [Field] {
        func mistake(_ reason: String) -> TemplateError { TemplateError(reason: reason, position: 1) }
        switch name {
        case "GET" where !rest.isEmpty: throw mistake("GET takes a key and nothing else")
        case "HGET" where rest.count != 1: throw mistake("HGET takes a key and one field")
        case "HMGET" where rest.isEmpty: throw mistake("HMGET takes a key and at least one field")
        default: break
        }
        switch purpose {
        case .access where name == "HMGET" && !rest.count.isMultiple(of: 2):
            throw mistake(
                "HMGET answers values alone, which are read as pairs of a topic filter and an access; use HGETALL"
            )
        case .superuser, .access:
            return []
        case .credentials:
            if name == "HGETALL" {
                throw mistake("HGETALL answers names between the values; ask with HMGET for the fields that are needed")
            }
            if RedisReadCommand.answeringNumbers.contains(name) || RedisReadCommand.answeringNumberLists.contains(name)
            {
                throw mistake("\(name) answers a number, which is no password; with password_hash: none it can be used")
            }
        case .existence:
            // Of a key that is not there it says that the first clear bit is at 0.
            if name == "BITPOS", rest.first?.constant != [UInt8(ascii: "1")] {
                throw mistake("BITPOS finds a clear bit also where there is no key; look for a set one: BITPOS key 1")
            }
        }
        switch name {
        case "GET", "HGET": return [purpose == .existence ? .ignored : .secret]
        case "HMGET": break
        default: return []
        }
        let fields = Self.meanings(of: rest.map(\.constant))
        guard purpose == .credentials else { return fields.map { $0 == .isSuperuser ? $0 : .ignored } }
        guard fields.contains(.secret) else {
            throw mistake("none of its fields is a password: name one password_hash or password")
        }
        for unique in [Field.secret, .salt, .isSuperuser] where fields.filter({ $0 == unique }).count > 1 {
            throw mistake("a field is asked for twice")
        }
        return fields
    }

    /// EMQX 5's field names mean what they say wherever they stand. The other names go by position, as in EMQX 4: the first
    /// is the hash and the second the salt, as far as no name has taken that meaning; further ones are ignored.
    private static func meanings(of names: [[UInt8]?]) -> [Field] {
        func isNamed(_ name: [UInt8]?, _ text: String) -> Bool { name == Array(text.utf8) }
        // password_hash wins over password when both are asked for.
        let hashIsNamed = names.contains { isNamed($0, "password_hash") }
        var fields: [Field?] = names.map { name in
            if isNamed(name, "password_hash") { return .secret }
            if isNamed(name, "password") { return hashIsNamed ? .secretOtherwise : .secret }
            if isNamed(name, "salt") { return .salt }
            if isNamed(name, "is_superuser") { return .isSuperuser }
            // EMQX 6 takes another client identifier from it; here it stays the client's.
            if isNamed(name, "clientid_override") { return .ignored }
            return nil
        }
        for index in fields.indices where fields[index] == nil {
            if !fields.contains(.secret) {
                fields[index] = .secret
            } else if !fields.contains(.salt) && index == 1 {
                fields[index] = .salt
            } else {
                fields[index] = .ignored
            }
        }
        return fields.map { $0 ?? .ignored }
    }

    private static func capitals(_ bytes: [UInt8]) -> String {
        let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
        return String(decoding: bytes.map { letters.contains($0) ? $0 - 0x20 : $0 }, as: UTF8.self)
    }
}
