import Common

/// What a reply says about the device that was asked for.
package enum LookupResult: Equatable, Sendable {
    case found(CredentialReply)
    /// Redis does not know the key: the only thing that is negative.
    case absent
    /// The device is known, and somebody has said that it is not let in.
    case disabled
    /// An error reply, or one that this command cannot have; in words for the log.
    case unusable(String)
    /// There is a row, and it is longer than what is taken: Redis is well, the row has to be put right.
    case tooLong(String)
}

extension CommandSet {
    /// What the replies to all commands say together, in the order of `Rendered.commands`.
    package func interpret(_ replies: [RedisReply]) -> LookupResult {
        guard replies.count == self.count, let first = replies.first else {
            return .unusable("\(replies.count) answers came for \(self.count) commands")
        }
        for (index, reply) in replies.enumerated() {
            guard let text = reply.errorText else { continue }
            // A superuser's key that holds something else says that nobody is one.
            if index == 1, self.superuser != nil, text.hasPrefix("WRONGTYPE") { continue }
            if text.hasPrefix("WRONGTYPE") { return .unusable(text + self.origin(of: index)) }
            return text == RedisReplyReader.tooLongText ? .tooLong(text) : .unusable(text)
        }
        let result = self.row.interpret(first)
        guard self.asksForFurtherKeys, case .found(var row) = result else { return result }
        var rest = replies.dropFirst()
        if self.superuser != nil, let reply = rest.popFirst() {
            // EMQX 4: the text "1" and nothing else, as which its Redis client reads a number as well.
            row.isSuperuser = reply == .bulk([UInt8(ascii: "1")]) || reply == .integer(1)
        }
        if self.access != nil, let reply = rest.popFirst() {
            guard let rows = Self.accessRows(reply) else {
                return .unusable("authentication.acl_command did not answer pairs of a topic filter and an access")
            }
            row.access = rows
        }
        return .found(row)
    }

    /// Which command met the wrong kind of key, without anything of the device.
    private func origin(of index: Int) -> String {
        let command = self.all[index]
        let row =
            switch command.purpose {
            case .credentials, .existence: "password row"
            case .superuser: "superuser row"
            case .access: "access rows"
            }
        return " (the key of the \(row), which \(command.name) of authentication.\(command.purpose.key) asked for)"
    }

    private static func accessRows(_ reply: RedisReply) -> [AccessRow]? {
        if reply == .null { return [] }
        guard case .array(let elements) = reply, elements.count.isMultiple(of: 2) else { return nil }
        var rows: [AccessRow] = []
        for index in stride(from: 0, to: elements.count, by: 2) {
            if elements[index] == .null || elements[index + 1] == .null { continue }
            guard let filter = Self.text(elements[index]), let access = Self.text(elements[index + 1]) else {
                return nil
            }
            rows.append(AccessRow(filter: filter, access: access))
        }
        return rows
    }

    /// A number, which a script may answer, counts as its text, as which EMQX 4's Redis client reads it.
    private static func text(_ reply: RedisReply) -> [UInt8]? {
        switch reply {
        case .bulk(let bytes): bytes
        case .integer(let number): Array(String(number).utf8)
        case .null, .array, .status, .error: nil
        }
    }
}

extension CommandTemplate {
    package func interpret(_ reply: RedisReply) -> LookupResult {
        if let text = reply.errorText { return .unusable(text) }
        switch reply {
        case .null where self.name != "HMGET", .array([]) where self.isPositional:
            return .absent
        case .integer(let number) where self.purpose == .existence:
            return RedisReadCommand.says(number, self.name) ? .found(CredentialReply(secret: nil)) : .absent
        case .array(let elements)
        where self.purpose == .existence && RedisReadCommand.answeringNumberLists.contains(self.name):
            return Self.existence(elements)
        case .bulk(let bytes) where self.name != "HMGET":
            return self.row([.bulk(bytes)])
        case .array(let elements) where self.isPositional:
            return self.row(elements)
        case .array(let elements) where self.name == "HMGET":
            guard elements.count == self.fields.count else {
                return .unusable("\(elements.count) values came for \(self.fields.count) fields")
            }
            return self.row(elements)
        case .null, .bulk, .array, .integer, .status, .error:
            return .unusable("\(self.name) cannot have such a reply")
        }
    }

    /// One number for each thing that was asked about: all have to be there.
    private static func existence(_ elements: [RedisReply]) -> LookupResult {
        for element in elements {
            guard case .integer(let number) = element else { return .unusable("one of its answers is no number") }
            if number <= 0 { return .absent }
        }
        return .found(CredentialReply(secret: nil))
    }

    /// Whichever command is asked, the first value is the hash and the second the salt, as in EMQX 4.
    private func meaning(at index: Int) -> Field {
        if !self.isPositional { return index < self.fields.count ? self.fields[index] : .ignored }
        guard self.purpose == .credentials else { return .ignored }
        return index == 0 ? .secret : index == 1 ? .salt : .ignored
    }

    private func row(_ elements: [RedisReply]) -> LookupResult {
        guard elements.contains(where: { !self.isNothing($0) }) else { return .absent }
        // A salt without a hash is nobody's, as in EMQX 4.
        if self.isPositional, self.purpose == .credentials, elements.first.map(self.isNothing) ?? true {
            return .absent
        }
        var row = CredentialReply(secret: nil)
        var otherwise: [UInt8]?
        for (index, element) in elements.enumerated() {
            let value: [UInt8]
            switch element {
            case .null: continue
            case .bulk(let bytes): value = bytes
            // From a script; EMQX 4's client makes text of it. Where it is asked whether there is a row, it may say that there is none.
            case .integer(let number) where self.isPositional && self.purpose == .credentials:
                value = Array(String(number).utf8)
            case .array, .integer, .status, .error: return .unusable("a field's value is no text")
            }
            let meaning = self.meaning(at: index)
            guard meaning == .ignored || value.count <= AuthLimits.credentialBytesMax else {
                let place = elements.count > 1 ? "value \(index + 1) of the row" : "the row's value"
                return .tooLong(
                    "\(place) has \(value.count) bytes, at most \(AuthLimits.credentialBytesMax) are taken"
                )
            }
            switch meaning {
            case .secret: row.secret = value
            case .secretOtherwise: otherwise = value
            case .salt: row.salt = value
            case .isSuperuser: row.isSuperuser = Self.isTrue(value)
            case .ignored: break
            }
        }
        row.secret = row.secret ?? otherwise
        return .found(row)
    }

    /// The value is not there.
    private func isNothing(_ value: RedisReply) -> Bool {
        value == .null || value == .bulk([]) && RedisReadCommand.answeringEmptyForNothing.contains(self.name)
    }

    /// As EMQX 5 reads it: `true`, and whole numbers from 1 on, with or without their sign.
    private static func isTrue(_ value: [UInt8]) -> Bool {
        if value == Array("true".utf8) { return true }
        let digits = value.first == UInt8(ascii: "+") ? value.dropFirst() : value[...]
        let isNumber = !digits.isEmpty && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isNumber && digits.contains { $0 != UInt8(ascii: "0") }
    }
}
