import Common

/// EMQX 5's and 6's `emqx.conf` or `cluster.hocon`.
struct EMQX5Reader {
    var result = ImportedConfiguration()
    let root: HOCONValue
    /// Sections that others take values from: `common`, if there is a `${common}`.
    let named: Set<String>
    /// Those of listeners, instead of the one of all.
    private var chains: [Chain] = []

    private struct Chain {
        var listener: String
        var elements: [HOCONValue]
        var line: Int
    }

    /// - Throws: where the file is no HOCON.
    static func read(_ text: String) throws(HOCONParser.Failure) -> ImportedConfiguration {
        var parser = HOCONParser(text)
        let root = try parser.parse()
        var reader = EMQX5Reader(root: root, named: Set(parser.references.compactMap(\.first)))
        let sections = ["authentication", "authorization", "listeners", "zones"]
        let hasOther = ["auth", "listener"].contains { root[$0] != nil }
        reader.result.isForeign = !sections.contains { root[$0] != nil } && (hasOther || root["mqtt"] == nil)
        for problem in parser.problems { reader.result.warn(problem.line, problem.text) }
        reader.readListeners()
        reader.readAuthentication()
        reader.readAuthorization()
        reader.readSettings()
        reader.nameTheRest()
        return reader.result
    }

    private init(root: HOCONValue, named: Set<String>) {
        self.root = root
        self.named = named
    }

    func line(_ path: String...) -> Int {
        var value = self.root
        var line = 0
        for key in path {
            guard let member = value.member(key) else { return line }
            line = member.line
            value = member.value
        }
        return line
    }

    /// Of a list.
    private mutating func elements(_ path: String...) -> [HOCONValue] {
        guard let value = self.root.value(at: path) else { return [] }
        for member in value.strayMembers {
            let name = path.joined(separator: ".")
            self.result.warn(
                member.line,
                "\(name).\(member.key) is left out: elements count from 1, and without gaps"
            )
        }
        return value.elements
    }

    // MARK: Authentication

    private mutating func readAuthentication() {
        let line = self.line("authentication")
        let global = self.isGiven("authentication") ? self.elements("authentication") : nil
        if let global { self.readGlobalChain(global, line: line) }
        for chain in self.chains { self.readChain(chain, numberFrom: self.result.sources.count + 1) }
        if global == nil {
            self.nameMissingChain(line: line)
        } else if self.result.sources.isEmpty {
            self.result.warn(line, "there is no Redis authenticator; write authentication by hand")
        }
        if self.root["authentication_settings", "ignore_backend_failures"]?.isOn == true {
            self.result.warn(
                self.line("authentication_settings", "ignore_backend_failures"),
                "failures of Redis were ignored; here a source that cannot say stops, unless it has on_failure: next"
            )
        }
    }

    /// It is there, and not `null`.
    private func isGiven(_ key: String) -> Bool { self.root[key] != nil && self.root[key]?.text != "null" }

    /// The chain of all listeners without one of their own; which these are is written where there are others.
    private mutating func readGlobalChain(_ elements: [HOCONValue], line: Int) {
        let own = self.chains.map(\.listener)
        let others = self.result.listeners.map(\.name).filter { !own.contains($0) }
        guard own.isEmpty || !others.isEmpty else {
            self.result.warn(
                line,
                "authentication is left out: every listener has an authentication of its own, which EMQX asks instead"
            )
            return
        }
        self.readAuthenticators(elements, of: own.isEmpty ? [] : others, numberFrom: 1, line: line)
    }

    private mutating func readChain(_ chain: Chain, numberFrom first: Int) {
        let known = self.result.sources.count
        self.readAuthenticators(chain.elements, of: [chain.listener], numberFrom: first, line: chain.line)
        let sources = self.result.sources.dropFirst(known).map(\.name)
        self.result.warn(
            chain.line,
            sources.isEmpty
                ? "\(chain.listener) has an authentication of its own, of which nothing is taken over: no source is asked about its clients "
                    + "until you write one with listeners: [\(chain.listener)]"
                : "\(chain.listener) has an authentication of its own, which EMQX asks instead of the common one: it becomes "
                    + "\(sources.joined(separator: ", ")), with listeners: [\(chain.listener)]"
        )
    }

    private mutating func nameMissingChain(line: Int) {
        let own = self.chains.map(\.listener)
        let others = self.result.listeners.map(\.name).filter { !own.contains($0) }
        let what = line == 0 ? "there is no authentication" : "authentication is null, which is none"
        if own.isEmpty {
            self.result.warn(line, "\(what): every client was let in; write authentication by hand")
        } else if !others.isEmpty {
            self.result.warn(
                line,
                "\(what) but that of \(own.joined(separator: ", ")): every client of \(others.joined(separator: ", ")) was let in; "
                    + "write a source for these, or anonymous: true"
            )
        }
    }

    /// - Parameter listeners: that the sources are for; empty: all.
    /// - Parameter first: what the first one's name ends with.
    private mutating func readAuthenticators(
        _ elements: [HOCONValue],
        of listeners: [String],
        numberFrom first: Int,
        line: Int
    ) {
        for (index, element) in elements.enumerated() {
            let backend = element["backend"]?.text ?? ""
            let mechanism = element["mechanism"]?.text ?? ""
            let line = element.member("backend")?.line ?? element.member("mechanism")?.line ?? line
            guard element["enable"]?.isOff != true else {
                self.result.warn(line, "authenticator \(mechanism):\(backend) is off, and left out")
                continue
            }
            guard backend == "redis", mechanism == "password_based" else {
                self.result.warn(
                    line,
                    "authenticator \(mechanism):\(backend) is not taken over; only password_based:redis is"
                )
                continue
            }
            self.readSource(element, named: self.freeName(from: first + index), of: listeners, line: line)
        }
    }

    private func freeName(from first: Int) -> String {
        var number = first
        let names = Set(self.result.sources.map(\.name))
        while names.contains("redis-\(number)") { number += 1 }
        return "redis-\(number)"
    }

    private mutating func readSource(_ element: HOCONValue, named name: String, of listeners: [String], line: Int) {
        var source = ImportedConfiguration.Source()
        source.name = name
        source.listeners = listeners
        source.command = Self.command(of: element, placeholders: "")
        if source.command.isEmpty { self.result.warn(line, "cmd is missing") }
        source.passwordHash = self.passwordHash(element["password_hash_algorithm"], line: line)
        self.readConnection(element, line: line, into: &source)
        self.nameTheRest(of: element, source)
        if let precondition = Self.precondition(of: element) {
            self.result.warn(
                precondition.line,
                "precondition of \(source.name) is not taken over: it is asked about every client, and lets in those, too, that EMQX did "
                    + "not ask it about"
            )
        }
        self.result.sources.append(source)
    }

    /// With `%%` for each percent sign, which is a sign like any other in EMQX 5.
    ///
    /// - Parameter placeholders: letters that make a placeholder of it there as well.
    private static func command(of element: HOCONValue, placeholders: String) -> String {
        let text = ImportedText.trimmed(element["cmd"]?.text ?? "").utf8
        var command: [UInt8] = []
        for (index, byte) in zip(text.indices, text) {
            command.append(byte)
            guard byte == UInt8(ascii: "%") else { continue }
            let next = text[index...].dropFirst().first
            if !placeholders.utf8.contains(where: { $0 == next }) { command.append(byte) }
        }
        return String(decoding: command, as: UTF8.self)
    }

    /// The condition under which EMQX asks a source at all.
    private static func precondition(of element: HOCONValue) -> HOCONValue.Member? {
        guard let member = element.member("precondition"), !["", "null"].contains(member.value.text) else { return nil }
        return member
    }

    private mutating func passwordHash(_ value: HOCONValue?, line: Int) -> String {
        let name = value?["name"]?.text ?? "sha256"
        if let value, value["name"]?.text == nil {
            self.result.warn(
                line,
                "password_hash_algorithm\(value.text.map { " = \($0)" } ?? "") has no name, as {name = plain} has: sha256 with salt in front is "
                    + "written, which EMQX takes where nothing is said"
            )
        }
        switch name {
        // In this form a salt may be asked for; as in EMQX it is not used.
        case "bcrypt": return "{name: bcrypt}"
        case "pbkdf2":
            let mac = value?["mac_fun"]?.text ?? "sha256"
            let iterations = value?["iterations"]?.text ?? "1000"
            let length = value?["dk_length"]?.text.map { ", dk_length: \(ImportedConfiguration.scalar($0))" } ?? ""
            return "{name: pbkdf2, mac_fun: \(ImportedConfiguration.scalar(mac)), "
                + "iterations: \(ImportedConfiguration.scalar(iterations))\(length)}"
        case "plain", "md5", "sha", "sha256", "sha512":
            let position = value?["salt_position"]?.text ?? "prefix"
            return "{name: \(name), salt_position: \(ImportedConfiguration.scalar(position))}"
        default:
            // Not plain, with which a stored hash would be the password: nothing starts with what is written.
            self.result.warn(line, "password_hash_algorithm \(name) is not known; choose one")
            return "{name: \(ImportedConfiguration.scalar(name))}"
        }
    }

    private mutating func readConnection(
        _ element: HOCONValue,
        line: Int,
        into source: inout ImportedConfiguration.Source
    ) {
        source.kind = element["redis_type"]?.text ?? "single"
        let names = source.kind == "single" ? ["server", "servers"] : ["servers", "server"]
        source.setServers(names.lazy.compactMap { element.value(at: [$0]) }.first?.elements.compactMap(\.text) ?? [])
        source.sentinelMaster = element["sentinel"]?.text
        source.user = element["username"]?.text.flatMap { $0.isEmpty ? nil : $0 }
        self.readPassword(element, into: &source)
        let database = element.member("database")
        let title = "database of \(source.name)"
        source.database = self.result.database(database?.value.text, title, line: database?.line ?? line)
        let credentials = [element["sentinel_username"]?.text ?? "", element["sentinel_password"]?.text ?? ""]
        if credentials.contains(where: { !$0.isEmpty }) {
            self.result.warn(line, "the Sentinels' own credentials belong into redis.sentinel: user and password_file")
        }
        source.usesTLS = element["ssl", "enable"]?.isOn == true
        source.caFile = element["ssl", "cacertfile"]?.text
        source.certificateFile = element["ssl", "certfile"]?.text
        source.keyFile = element["ssl", "keyfile"]?.text
        source.serverName = element["ssl", "server_name_indication"]?.text.flatMap { $0 == "disable" ? nil : $0 }
        if source.usesTLS, element["ssl", "verify"]?.text != "verify_peer" {
            self.result.warn(
                line,
                "EMQX did not verify Redis' certificate; it is verified here: name its authority in tls.ca_file"
            )
        }
        if let timeout = element.member("query_timeout"), let text = timeout.value.text {
            self.result.readQueryTimeout(text, "query_timeout of \(source.name)", line: timeout.line, into: &source)
        }
        self.result.check(&source, line: line)
    }

    /// The password itself, or `file://` and the name of the file that it is in.
    private mutating func readPassword(_ element: HOCONValue, into source: inout ImportedConfiguration.Source) {
        guard let member = element.member("password"), let text = member.value.text, !text.isEmpty else { return }
        guard text.hasPrefix(Self.fileMark) else {
            source.password = text
            return
        }
        let path = String(text.dropFirst(Self.fileMark.count))
        source.passwordFile = path
        self.result.warn(
            member.line,
            path.contains("${")
                ? "the password of \(source.name) is in the file \(path): write what ${…} in it stands for"
                : "the password of \(source.name) stays in the file \(path); auth workers must be able to read it"
        )
    }

    private static let fileMark = "file://"

    // MARK: Authorization

    private mutating func readAuthorization() {
        let authorization = self.root["authorization"]
        let noMatch = authorization?["no_match"]?.text ?? "allow"
        if noMatch == "allow" {
            self.result.warn(
                self.line("authorization", "no_match"),
                "authorization.no_match is allow\(authorization?["no_match"] == nil ? " by EMQX's example file" : ""): clients without "
                    + "rules, and all while Redis is away, could do everything; no_match: deny is written"
            )
        }
        self.result.noMatch = "deny"
        self.result.denyAction = authorization?["deny_action"]?.text
        var hasRows = false
        var others: [OtherSource] = []
        for element in self.elements("authorization", "sources") {
            let type = element["type"]?.text ?? ""
            let line = element.member("type")?.line ?? self.line("authorization", "sources")
            guard element["enable"]?.isOff != true else {
                self.result.warn(line, "authorization source \(type) is off, and left out")
                continue
            }
            let command = Self.command(
                of: element,
                placeholders: element["compatibility_mode"]?.text == "v4" ? "uc" : ""
            )
            guard type == "redis", !hasRows, !command.isEmpty, !self.result.sources.isEmpty else {
                let isSecond = type == "redis" && hasRows
                others.append(
                    OtherSource(type: type, line: line, isAhead: type != "redis" && !hasRows, isSecond: isSecond)
                )
                continue
            }
            if let precondition = Self.precondition(of: element) {
                self.result.warn(
                    precondition.line,
                    "precondition is not taken over, and without it the rows of authorization source redis would count for every "
                        + "client: the source is left out, so that they allow nobody anything; write acl_command if they may count for all"
                )
                continue
            }
            hasRows = true
            self.readRows(element, command, line: line)
        }
        self.name(others, hasRows: hasRows)
    }

    /// A source of authorization that is not taken over.
    private struct OtherSource {
        var type: String
        var line: Int
        /// EMQX asks it before it looks for rows; those of Redis never deny there.
        var isAhead: Bool
        /// One of Redis, of which there is one already.
        var isSecond: Bool
    }

    /// EMQX asks the sources in their order. Where one stands ahead of Redis, rules are asked before rows here, so that its denials count.
    private mutating func name(_ others: [OtherSource], hasRows: Bool) {
        let isLast = hasRows && others.contains(where: \.isAhead)
        if isLast { self.result.accessRows = "last" }
        for other in others {
            if other.isSecond {
                self.result.warn(
                    other.line,
                    "this is the second authorization source redis, and is not taken over: one acl_command asks for rows here, and rows of "
                        + "each client are no rules of authorization.rules; copy them to where the first one's are"
                )
                continue
            }
            var text = "authorization source \(other.type) is not taken over; write its rules into authorization.rules"
            if isLast {
                text +=
                    other.isAhead
                    ? ", what it denies above all: it stands ahead of redis, so acl: last is written, and rules are asked before rows"
                    : "; it stands behind redis, but with acl: last all rules are asked before rows"
            }
            self.result.warn(other.line, text)
        }
    }

    private mutating func readRows(_ element: HOCONValue, _ command: String, line: Int) {
        for index in self.result.sources.indices { self.result.sources[index].accessCommand = command }
        var connection = ImportedConfiguration.Source()
        connection.name = "the rows"
        self.nameTheRest(of: element, connection)
        self.readConnection(element, line: line, into: &connection)
        for source in self.result.sources {
            let owner = self.result.sources.count > 1 ? " of \(source.name)" : ""
            for (what, isSame) in Self.comparison(connection, source) where !isSame {
                self.result.warn(
                    line,
                    "the rows are in another Redis than the passwords\(owner) (\(what)); here one connection asks for both, and until "
                        + "the rows are there as well they allow the clients\(owner) nothing"
                )
            }
        }
        if self.result.sources.count > 1 {
            self.result.warn(
                line,
                "each of the sources is asked for the rows; remove acl_command where there are none"
            )
        }
    }

    private static func comparison(
        _ one: ImportedConfiguration.Source,
        _ other: ImportedConfiguration.Source
    ) -> [(what: String, isSame: Bool)] {
        [
            (
                "other servers",
                one.kind == other.kind && one.servers == other.servers && one.sentinelMaster == other.sentinelMaster
            ),
            ("another database", one.database == other.database),
            (
                "another user or password",
                one.user == other.user && one.password == other.password && one.passwordFile == other.passwordFile
            ),
            ("another setting of TLS", one.usesTLS == other.usesTLS && one.caFile == other.caFile),
        ]
    }

    // MARK: Listeners

    private mutating func readListeners() {
        for transport in self.listeners() {
            for member in transport.value.members {
                guard self.isListener(member, "\(transport.key):\(member.key)") else { continue }
                guard !["enable", "enabled"].contains(where: { member.value.value(at: [$0])?.isOff == true }) else {
                    self.result.warn(member.line, "listener \(transport.key):\(member.key) is off, and left out")
                    continue
                }
                guard ["ssl", "tcp"].contains(transport.key) else {
                    self.result.warn(
                        member.line,
                        "listener \(transport.key):\(member.key) is not taken over: there is no such transport here"
                    )
                    continue
                }
                self.readListener(transport.key, member)
            }
        }
        if self.result.listeners.isEmpty {
            var listener = self.result.listenerForNone()
            listener.zone = "default"
            self.readCertificateUses(&listener)
            self.result.listeners = [listener]
        }
    }

    /// By transport.
    private mutating func listeners() -> [HOCONValue.Member] {
        guard let all = self.root.member("listeners"), self.isSection(all, "listeners") else { return [] }
        return all.value.members.filter { self.isSection($0, "listeners.\($0.key)") }
    }

    /// EMQX's mark for a listener that was deleted; without it those of its own defaults would be there again.
    private static let tombstone = "marked_for_deletion"

    private mutating func isSection(_ member: HOCONValue.Member, _ title: String) -> Bool {
        if case .object = member.value { return true }
        let isDeleted = ["null", Self.tombstone].contains(member.value.text)
        self.result.warn(
            member.line,
            isDeleted
                ? "\(title) is \(member.value.text ?? ""), which removes what stood there; it is left out"
                : "\(title) is not understood, and left out: it is not {…}, with listeners in it"
        )
        return false
    }

    /// Not one that was deleted, and may have had settings in lines before.
    private mutating func isListener(_ member: HOCONValue.Member, _ title: String) -> Bool {
        if case .object = member.value { return true }
        switch member.value.text {
        case Self.tombstone?:
            self.result.warn(member.line, "listener \(title) was deleted (\(Self.tombstone)), and is left out")
        case "null"?:
            self.result.warn(member.line, "listener \(title) is null, which removes it; it is left out")
        default:
            self.result.warn(
                member.line,
                "listener \(title) is not understood, and left out: it is not {…}, with its settings in it"
            )
        }
        return false
    }

    private mutating func readListener(_ transport: String, _ member: HOCONValue.Member) {
        var listener = ImportedConfiguration.Listener(transport: transport, name: member.key)
        listener.zone = member.value["zone"]?.text ?? "default"
        listener.setAddress(member.value["bind"]?.text ?? (listener.isTLS ? "8883" : "1883"))
        let options = member.value["ssl_options"]
        listener.certificateFile = options?["certfile"]?.text
        listener.keyFile = options?["keyfile"]?.text
        listener.clientCAFile = options?["cacertfile"]?.text
        let verifies = options?["verify"]?.text == "verify_peer"
        let needs = options?["fail_if_no_peer_cert"]?.isOn == true
        listener.clientCertificate = listener.isTLS && verifies ? (needs ? "required" : "optional") : "none"
        if listener.isTLS { self.readCertificateUses(&listener) }
        // As with `[]`, there is no chain then.
        if let own = member.value.member("authentication"), own.value.text != "null", !own.value.elements.isEmpty {
            self.chains.append(Chain(listener: listener.name, elements: own.value.elements, line: own.line))
        }
        if member.value["enable_authn"]?.isOff == true {
            self.result.warn(
                member.line,
                "clients of \(listener.name) were not authenticated; here they are, unless you write anonymous: true"
            )
        }
        let done = self.result.readLimits(of: member, into: &listener)
        self.nameTheRest(of: member, listener.name, done)
        self.result.add(listener, line: member.line)
    }
}
