import Common
import TLS

/// What the source would ask about a client, and what it knows of it at the moment; never a value.
extension RedisSource {
    /// - Parameter isUnknown: it had no row of the client.
    func explain(_ query: AuthQuery, isUnknown: Bool, into block: inout Report.Block) {
        let rendered: CommandSet.Rendered
        do throws(TemplateText.RenderFailure) {
            rendered = try self.settings.command.render(ClientAttributes(query))
        } catch {
            return block.add("command", "cannot be filled in: \(error)")
        }
        for command in rendered.commands { block.add("command", CommandText.render(command)) }
        if isUnknown, let row = rendered.commands.first, let writing = self.settings.command.row.writing(row) {
            block.add("row_made_by", writing.map { $0.map { CommandText.render([$0]) } ?? "…" }.joined(separator: " "))
        }
        self.explain(rendered.key, into: &block)
    }

    /// What memory and the cache file hold of a key.
    func explain(_ key: LookupKey, into block: inout Report.Block) {
        block.add("key", bytes: key.redisKey)
        let now = self.time
        if let entry = self.authenticator.entry(for: key) {
            let age = (now.monotonic - self.authenticator.lastCurrent(entry)) / Int64(Nanoseconds.perSecond)
            var state =
                entry.row == nil ? "no such row" : self.authenticator.isFresh(entry, now: now) ? "fresh" : "stale"
            if entry.mustFetch { state = "named as changed, to be fetched again" }
            block.add("in_memory", "\(state), known current \(age) s ago, generation \(entry.generation)")
            if let row = entry.row { self.add(row, to: &block) }
        } else {
            block.add("in_memory", "nothing")
        }
        switch self.cache?.read(key) {
        case nil: block.add("on_disk", "there is no cache file in use")
        case .notReadable: block.add("on_disk", "the file cannot be read just now")
        case .notFound: block.add("on_disk", "nothing")
        case .found(let cached):
            let isTold = !cached.mustFetch && !cached.isImported
            let told = isTold ? self.authenticator.toldOnDisk : ToldSpans()
            let age = (now.wallMilliseconds - told.end(of: cached.knownCurrentMilliseconds)) / 1000
            let isAbsent = cached.absentSinceMilliseconds != nil
            guard !isAbsent || !cached.mustFetch else {
                // The mark of a key that nobody has a row of, or a row that was gone: whether there is one now is not known.
                block.add("on_disk", "no row; named as changed, to be fetched, generation \(cached.generation)")
                break
            }
            var state = "known current \(age) s ago, generation \(cached.generation)"
            if isAbsent { state += ", Redis has no such row any more" }
            if cached.mustFetch { state += ", named as changed, to be fetched again" }
            block.add("on_disk", state)
            if self.authenticator.entry(for: key) == nil { self.add(cached.row, to: &block) }
        }
        block.add("redis", self.redis.description)
    }

    private func add(_ row: CredentialRow, to block: inout Report.Block) {
        switch row.secret {
        case .none: block.add("row_password", "none")
        case .hash(let hash): block.add("row_password", "a hash of \(hash.count) bytes")
        case .passwordCode: block.add("row_password", "plain in Redis, kept as a code")
        }
        if !row.salt.isEmpty { block.add("row_salt", "\(row.salt.count) bytes") }
        if row.isSuperuser { block.add("row_superuser", "yes") }
        if self.settings.command.access != nil { block.add("row_access", "\(row.access.count) filters") }
        block.addAccessMistake(of: row)
    }

    /// The key that a text means: the key itself, one that was made from it too, or that of a device, user or client of that name.
    func keys(of text: String) -> (keys: [LookupKey], areCached: Bool) {
        let name = Array(text.utf8)
        let identity = CertificateIdentity(
            commonName: name,
            subject: Array("CN=".utf8) + name,
            issuer: [],
            serialNumber: name,
            fingerprint: [],
            notAfter: 0
        )
        let client = ClientAttributes(clientIdentifier: name, userName: name, peerAddress: [], identity: identity)
        let rendered = try? self.settings.command.render(client)
        var keys: [LookupKey] = []
        // What else the look-up depends on need not be the device's name.
        for redisKey in Set([name] + [rendered?.key.redisKey].compactMap { $0 }) {
            let inMemory = (self.authenticator.known.keys + self.authenticator.absent.keys).filter {
                $0.redisKey == redisKey || $0.relatedKeys.contains(redisKey)
            }
            for key in inMemory + (self.cache?.keys(of: redisKey) ?? []) where !keys.contains(key) { keys.append(key) }
        }
        guard keys.isEmpty else { return (keys, true) }
        guard let key = rendered?.key, !Self.isWhole(name, key) else { return ([LookupKey(redisKey: name)], false) }
        return ([key], false)
    }

    /// Whether a text begins as one of the keys does that were made from it, and so is no name.
    private static func isWhole(_ text: [UInt8], _ key: LookupKey) -> Bool {
        ([key.redisKey] + key.relatedKeys).contains { made in
            let before = made.prefix { $0 != UInt8(ascii: ":") }
            return before.count < made.count && text.count > before.count + 1
                && text.starts(with: made.prefix(before.count + 1)) && !made.starts(with: text)
        }
    }

    /// The key is fetched again before it counts, also by other workers. Returns what it was.
    func drop(_ key: LookupKey) {
        self.authenticator.changed([key.redisKey], now: self.time)
        self.service.announce([key.hash], of: self.index)
    }

    /// The same for all keys in memory and in the file.
    func dropAll() {
        self.authenticator.allNamed(now: self.time)
        self.doubtAll()
    }
}

extension Report.Block {
    mutating func addAccessMistake(of row: CredentialRow) {
        guard !row.access.isEmpty, let mistake = AccessRowRules(row.access).mistake else { return }
        self.add(
            "row_access_mistake",
            "\(mistake.filter) has \(mistake.access): \(mistake.text)\(mistake.others)"
        )
    }
}

/// A command as one would type it into redis-cli.
enum CommandText {
    static func render(_ arguments: [[UInt8]]) -> String {
        arguments.map { argument in
            let isPlain =
                !argument.isEmpty && argument.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x27 }
            if isPlain { return String(decoding: argument, as: UTF8.self) }
            let escaped = argument.map { byte -> String in
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): "\\" + String(UnicodeScalar(byte))
                case 0x20..<0x7F: String(UnicodeScalar(byte))
                default: "\\x" + String(decoding: DeviceSearch.hexadecimal([byte]), as: UTF8.self)
                }
            }
            return "\"\(escaped.joined())\""
        }.joined(separator: " ")
    }
}
