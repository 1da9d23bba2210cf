import Common

/// What a reply says about the device that was asked for.
package enum LookupResult: Equatable, Sendable {
    case found(CredentialReply)
    /// Redis does not know the key: the only thing that is negative.
    case absent
    /// An error reply, or one that this command cannot have; in words for the log.
    case unusable(String)
}

extension CommandTemplate {
    package func interpret(_ reply: RedisReply) -> LookupResult {
        if let text = reply.errorText { return .unusable(text) }
        switch (self.name, reply) {
        case (.get, .null), (.hget, .null):
            return .absent
        case (.get, .bulk(let bytes)), (.hget, .bulk(let bytes)):
            return self.row([.bulk(bytes)])
        case (.hmget, .array(let elements)):
            guard elements.count == self.fields.count else {
                return .unusable("\(elements.count) values came for \(self.fields.count) fields")
            }
            return self.row(elements)
        case (.get, _), (.hget, _), (.hmget, _):
            return .unusable("\(self.name.rawValue) cannot have such a reply")
        }
    }

    private func row(_ elements: [RedisReply]) -> LookupResult {
        guard elements.contains(where: { $0 != .null }) else { return .absent }
        var row = CredentialReply(secret: nil)
        var otherwise: [UInt8]?
        for (element, field) in zip(elements, self.fields) {
            let value: [UInt8]
            switch element {
            case .null: continue
            case .bulk(let bytes): value = bytes
            case .array, .integer, .status, .error: return .unusable("a field's value is no text")
            }
            guard value.count <= AuthLimits.credentialBytesMax else {
                return .unusable("a field's value is longer than \(AuthLimits.credentialBytesMax) bytes")
            }
            switch field {
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

    /// As EMQX 5 reads it: `true`, and whole numbers from 1 on.
    private static func isTrue(_ value: [UInt8]) -> Bool {
        if value == Array("true".utf8) { return true }
        let isNumber = !value.isEmpty && value.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isNumber && value.contains { $0 != UInt8(ascii: "0") }
    }
}
