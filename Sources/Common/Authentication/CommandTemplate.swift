/// The configured Redis command (`HMGET tls_domain:%C password`), taken apart once: split into arguments first and filled in
/// afterwards, so that a value with a space stays one argument.
package struct CommandTemplate: Equatable, Sendable {
    package enum Name: String, CaseIterable, Sendable {
        case hget = "HGET"
        case hmget = "HMGET"
        case get = "GET"
    }

    /// What a value of the reply means.
    package enum Field: Equatable, Sendable {
        /// The stored hash, or the password itself.
        case secret
        /// The same, used when the field of meaning `secret` is absent: `password` beside `password_hash`.
        case secretOtherwise
        case salt
        case isSuperuser
        case ignored
    }

    package struct Rendered: Equatable, Sendable {
        package var key: LookupKey
        /// All arguments with the command's name in front.
        package var arguments: [[UInt8]]
    }

    package let name: Name
    /// One for each value of the reply, in its order.
    package let fields: [Field]
    private let key: TemplateText
    /// The arguments after the key.
    private let rest: [TemplateText]
    private let restIsConstant: Bool

    /// - Throws: `ConfigurationMistake` with a sentence for whoever wrote the command.
    package init(_ line: String) throws(ConfigurationMistake) {
        let arguments: [CommandLineSplitter.Argument]
        var texts: [TemplateText] = []
        do throws(TemplateError) {
            arguments = try CommandLineSplitter.split(Array(line.utf8))
            for argument in arguments { texts.append(try TemplateText(argument.bytes, positions: argument.positions)) }
        } catch {
            throw Self.mistake(line, "\(error.reason) (at character \(error.position))")
        }
        guard let first = arguments.first else { throw Self.mistake(line, "there is no command in it") }
        guard let name = Name.allCases.first(where: { Self.isEqual(first.bytes, $0.rawValue) }) else {
            let shown = String(decoding: first.bytes, as: UTF8.self)
            throw Self.mistake(line, "\(shown) is not among the commands that can be used: HGET, HMGET, GET")
        }
        guard arguments.count >= 2, texts[1].constant != [] else { throw Self.mistake(line, "it names no key") }
        self.name = name
        self.key = texts[1]
        self.rest = Array(texts.dropFirst(2))
        self.restIsConstant = self.rest.allSatisfy { $0.constant != nil }
        self.fields = try Self.fields(of: name, self.rest, line)
        guard !self.key.placeholders.isEmpty || !self.restIsConstant else {
            throw Self.mistake(
                line,
                "it has no placeholder, so all devices would share one password; there are \(Placeholder.listing)"
            )
        }
    }

    /// What the command asks the client for: all placeholders of its arguments.
    package var placeholders: [Placeholder] { self.key.placeholders + self.rest.flatMap(\.placeholders) }

    /// What all rendered keys begin with; empty when the key begins with a placeholder.
    package var keyPrefix: [UInt8] { self.key.literalPrefix }

    /// No two look-ups have one Redis key.
    package var hasOneKeyPerRedisKey: Bool { self.restIsConstant }

    package var asksForSalt: Bool { self.fields.contains(.salt) }

    /// The command for one client. Throws when the client lacks a value, or has one that may not go into a command.
    package func render(_ client: ClientAttributes) throws(TemplateText.RenderFailure) -> Rendered {
        let redisKey = try self.key.render(client)
        var arguments = [Array(self.name.rawValue.utf8), redisKey]
        var variant: [UInt8] = []
        for text in self.rest {
            let argument = try text.render(client)
            arguments.append(argument)
            if self.restIsConstant { continue }
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: argument.count).littleEndian) { variant += $0 }
            variant += argument
        }
        return Rendered(key: LookupKey(redisKey: redisKey, variant: variant), arguments: arguments)
    }

    private static func fields(
        of name: Name,
        _ rest: [TemplateText],
        _ line: String
    ) throws(ConfigurationMistake) -> [Field] {
        switch name {
        case .get:
            guard rest.isEmpty else { throw Self.mistake(line, "GET takes a key and nothing else") }
            return [.secret]
        case .hget:
            guard rest.count == 1 else { throw Self.mistake(line, "HGET takes a key and one field") }
            return [.secret]
        case .hmget:
            guard !rest.isEmpty else { throw Self.mistake(line, "HMGET takes a key and at least one field") }
            let fields = Self.meanings(of: rest.map(\.constant))
            guard fields.contains(.secret) else {
                throw Self.mistake(line, "none of its fields is a password: name one password_hash or password")
            }
            for unique in [Field.secret, .salt, .isSuperuser] where fields.filter({ $0 == unique }).count > 1 {
                throw Self.mistake(line, "a field is asked for twice")
            }
            return fields
        }
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

    private static func isEqual(_ bytes: [UInt8], _ name: String) -> Bool {
        bytes.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) ? $0 - 0x20 : $0 } == Array(name.utf8)
    }

    private static func mistake(_ line: String, _ reason: String) -> ConfigurationMistake {
        ConfigurationMistake(subject: "authentication.command \"\(line)\"", reason: reason)
    }
}
