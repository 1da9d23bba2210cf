import Glibc

extension Configuration {
    /// What is wrong with the files, folders and users that the configuration names, as this process sees them; warnings are of what
    /// a role starts with all the same, and says in its log, and of a protection that another listener takes away. Folders that are not there yet are made at start-up and no mistake.
    public func check() -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        self.checkClientIdentifiers(&problems)
        for (index, listener) in self.listeners.enumerated() {
            guard let tls = listener.tls else { continue }
            let section = CheckedSection(written: "listeners.\(index).tls", shown: "listeners.\(listener.name).tls")
            let files = [
                ("certificate_file", tls.certificateFile), ("key_file", tls.keyFile),
                ("key_password_file", tls.keyPasswordFile), ("client_ca_file", tls.clientCAFile),
            ]
            for case (let key, let path?) in files { self.checkFile(path, section, key, &problems) }
            // Without authorities no certificates are seen, and no lists are read.
            if tls.clientCAFile != nil {
                for path in tls.crlFiles { self.checkFile(path, section, "crl_files", &problems) }
                self.checkListDirectory(tls, section, &problems)
            }
            guard tls.sessionTickets else { continue }
            let secrets = [
                ("ticket_secret_file", tls.ticketSecretFile),
                ("previous_ticket_secret_file", tls.previousTicketSecretFile),
            ]
            for case (let key, let path?) in secrets { self.checkTicketSecret(path, section, key, &problems) }
        }
        let outages = problems.count
        self.checkRedis(&problems)
        for (index, source) in self.authentication.sources.enumerated() where source.kind == .embedded {
            guard Glibc.access(source.file, R_OK) != 0 else { continue }
            let text = errno == ENOENT ? Self.missingDeviceFile(source.file) : Self.unreadable(source.file, errno)
            problems.append(self.problem(text, Self.section(source, index, ""), "file"))
        }
        for index in outages..<problems.count { problems[index].isOutageOfSource = true }
        let top = CheckedSection(written: "", shown: "")
        self.checkDirectory(self.runtimeDirectory, top, "runtime_directory", &problems)
        self.checkDirectory(self.stateDirectory, top, "state_directory", &problems)
        self.checkCaches(&problems)
        do throws(BanList.Problem) {
            _ = try self.loadBans()
        } catch {
            problems.append(self.problem("\(error)", top, "bans_file"))
        }
        for user in self.linkUsers where getpwnam(user) == nil {
            var problem = self.problem("this host has no user \(user)", top, "link_users")
            problem.isWarning = true
            problems.append(problem)
        }
        return problems
    }

    /// Client ids are those of all listeners. Where clients need no certificate there may be no name that theirs could be compared with.
    private func checkClientIdentifiers(_ problems: inout [ConfigurationError.Problem]) {
        guard let bound = self.listeners.first(where: { $0.clientID != .any }) else { return }
        for (index, listener) in self.listeners.enumerated()
        where listener.clientID == .any && listener.clientCertificate == .required {
            let section = CheckedSection(written: "listeners.\(index)", shown: "listeners.\(listener.name)")
            let message =
                "any: clients of this listener can take over sessions of devices on \(bound.name), which has "
                + "\(bound.clientID.rawValue), for all listeners share the client ids; must_equal_cn or from_cn here prevents it"
            var problem = self.problem(message, section, "client_id")
            problem.isWarning = true
            problems.append(problem)
        }
    }

    private func checkListDirectory(
        _ tls: Listener.TLS,
        _ section: CheckedSection,
        _ problems: inout [ConfigurationError.Problem]
    ) {
        guard let path = tls.crlDirectory else { return }
        self.checkDirectory(path, section, "crl_directory", &problems)
        guard Glibc.access(path, F_OK) != 0, errno == ENOENT else { return }
        let text =
            "\(path): is not there yet; until martlet crl refresh has made and filled it, \(tls.effectOfMissingLists)"
        var problem = self.problem(text, section, "crl_directory")
        problem.isWarning = true
        problems.append(problem)
    }

    private func checkRedis(_ problems: inout [ConfigurationError.Problem]) {
        for (index, source) in self.authentication.sources.enumerated() where source.kind == .redis {
            let redis = source.redis
            let section = Self.section(source, index, "redis")
            var passwords = [("password_file", redis.passwordFile)]
            if case .sentinel(let sentinel) = redis.topology {
                passwords.append(("sentinel.password_file", sentinel.passwordFile))
            }
            for case (let key, let path?) in passwords {
                do throws(ValueError) {
                    _ = try Self.readPassword(path)
                } catch {
                    problems.append(self.problem("\(path): \(error.message)", section, key))
                }
            }
            let files = [
                ("tls.ca_file", redis.tls.caFile), ("tls.certificate_file", redis.tls.certificateFile),
                ("tls.key_file", redis.tls.keyFile), ("tls.key_password_file", redis.tls.keyPasswordFile),
            ]
            // Nobody reads them for plain connections.
            for case (let key, let path?) in files where redis.url.usesTLS {
                self.checkFile(path, section, key, &problems)
            }
        }
    }

    private func checkCaches(_ problems: inout [ConfigurationError.Problem]) {
        for (index, source) in self.authentication.sources.enumerated()
        where source.cache.enabled && [.redis, .embedded].contains(source.kind) {
            let effect = "auth workers would use memory only"
            let section = Self.section(source, index, "cache")
            self.checkDirectory(source.cache.directory, section, "directory", &problems, effect: effect)
        }
    }

    /// Of an embedded source: as all say it who look for the file.
    public static func missingDeviceFile(_ path: String) -> String {
        "there is no file \(path); martlet device add makes the file of the configuration"
    }

    /// What is wrong with a listener's `tls` section.
    ///
    /// - Parameter setting: the key in it that is meant, for the place; nil: the section as a whole.
    public func problem(
        _ message: String,
        ofListener index: Int,
        setting: String? = nil,
        isWarning: Bool = false
    ) -> ConfigurationError.Problem {
        ConfigurationError.Problem(
            origin: self.written.origin(of: ConfigurationText.path("listeners.\(index).tls", setting ?? "")),
            key: "",
            message: "listener \(self.listeners[index].name): \(message)",
            isWarning: isWarning
        )
    }

    /// The same of the `redis.tls` section of a source of authentication.
    public func problem(
        _ message: String,
        ofSource index: Int,
        setting: String?,
        isWarning: Bool = false
    ) -> ConfigurationError.Problem {
        let section = Self.section(self.authentication.sources[index], index, "redis.tls")
        var problem = self.problem(message, section, setting ?? "")
        // The message names it.
        problem.key = section.shown
        problem.isWarning = isWarning
        problem.isOutageOfSource = true
        return problem
    }

    /// What is wrong with the file of an embedded source: the end of a sentence that begins with its name.
    public func problem(_ message: String, ofDevicesOfSource index: Int) -> ConfigurationError.Problem {
        let source = self.authentication.sources[index]
        var problem = self.problem("\(source.file): \(message)", Self.section(source, index, ""), "file")
        problem.isOutageOfSource = true
        return problem
    }

    /// A section by its place in the file, and by the name of its list entry for people.
    private struct CheckedSection {
        var written: String
        var shown: String
    }

    /// - Parameter key: of a section in that of the source; empty: that one itself.
    private static func section(_ source: Authentication.Source, _ index: Int, _ key: String) -> CheckedSection {
        let (written, shown) =
            source.name.isEmpty
            ? ("authentication", "authentication")
            : ("authentication.sources.\(index)", "authentication.sources.\(source.name)")
        guard !key.isEmpty else { return CheckedSection(written: written, shown: shown) }
        return CheckedSection(
            written: ConfigurationText.path(written, key),
            shown: ConfigurationText.path(shown, key)
        )
    }

    private func problem(_ message: String, _ section: CheckedSection, _ key: String) -> ConfigurationError.Problem {
        ConfigurationError.Problem(
            origin: self.written.origin(of: ConfigurationText.path(section.written, key)),
            key: ConfigurationText.path(section.shown, key),
            message: message
        )
    }

    /// No key or certificate bundle is larger.
    private static let secretFileBytesMax = 16 * 1024 * 1024

    private func checkFile(
        _ path: String,
        _ section: CheckedSection,
        _ key: String,
        _ problems: inout [ConfigurationError.Problem]
    ) {
        do {
            let bytes = try Self.readFile(path, bytesMax: Self.secretFileBytesMax)
            if bytes.isEmpty { problems.append(self.problem("\(path): is empty", section, key)) }
        } catch {
            problems.append(self.problem("\(path): \(error.message)", section, key))
        }
    }

    private func checkTicketSecret(
        _ path: String,
        _ section: CheckedSection,
        _ key: String,
        _ problems: inout [ConfigurationError.Problem]
    ) {
        do throws(ValueError) {
            _ = try Self.readTicketSecret(path)
        } catch {
            problems.append(self.problem("\(path): \(error.message)", section, key))
        }
    }

    /// - Parameter effect: what a role does that finds no folder there; nil: it does not start.
    private func checkDirectory(
        _ path: String,
        _ section: CheckedSection,
        _ key: String,
        _ problems: inout [ConfigurationError.Problem],
        effect: String? = nil
    ) {
        var status = stat()
        var text = "is not a directory"
        if stat(path, &status) != 0 {
            guard errno != ENOENT else { return }
            text = Self.describe(errno)
        } else if status.st_mode & S_IFMT == S_IFDIR {
            return
        }
        var problem = self.problem("\(path): \(text)" + (effect.map { "; \($0)" } ?? ""), section, key)
        problem.isWarning = effect != nil
        problems.append(problem)
    }
}
