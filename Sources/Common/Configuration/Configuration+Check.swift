import Glibc

extension Configuration {
    /// What is wrong with the files, folders and users that the configuration names, as this process sees them. Folders that are
    /// not there yet are made at start-up and no mistake.
    public func check() -> [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        for (index, listener) in self.listeners.enumerated() {
            guard let tls = listener.tls else { continue }
            let section = CheckedSection(written: "listeners.\(index).tls", shown: "listeners.\(listener.name).tls")
            let files = [
                ("certificate_file", tls.certificateFile), ("key_file", tls.keyFile),
                ("key_password_file", tls.keyPasswordFile), ("client_ca_file", tls.clientCAFile),
            ]
            for case (let key, let path?) in files { self.checkFile(path, section, key, &problems) }
            for path in tls.crlFiles { self.checkFile(path, section, "crl_files", &problems) }
            if let path = tls.crlDirectory { self.checkDirectory(path, section, "crl_directory", &problems) }
            guard tls.sessionTickets else { continue }
            let secrets = [
                ("ticket_secret_file", tls.ticketSecretFile),
                ("previous_ticket_secret_file", tls.previousTicketSecretFile),
            ]
            for case (let key, let path?) in secrets { self.checkTicketSecret(path, section, key, &problems) }
        }
        for (index, source) in self.authentication.sources.enumerated() where source.kind == .redis {
            let section = Self.section(source, index, "redis")
            var files = [
                ("password_file", source.redis.passwordFile), ("tls.ca_file", source.redis.tls.caFile),
                ("tls.certificate_file", source.redis.tls.certificateFile), ("tls.key_file", source.redis.tls.keyFile),
                ("tls.key_password_file", source.redis.tls.keyPasswordFile),
            ]
            if case .sentinel(let sentinel) = source.redis.topology {
                files.append(("sentinel.password_file", sentinel.passwordFile))
            }
            for case (let key, let file?) in files { self.checkFile(file, section, key, &problems) }
        }
        for (index, source) in self.authentication.sources.enumerated() where source.kind == .embedded {
            if Glibc.access(source.file, F_OK) != 0, errno == ENOENT {
                let section = Self.section(source, index, "")
                problems.append(self.problem(Self.missingDeviceFile(source.file), section, "file"))
            }
        }
        let top = CheckedSection(written: "", shown: "")
        self.checkDirectory(self.runtimeDirectory, top, "runtime_directory", &problems)
        self.checkDirectory(self.stateDirectory, top, "state_directory", &problems)
        for (index, source) in self.authentication.sources.enumerated() where source.cache.enabled {
            self.checkDirectory(source.cache.directory, Self.section(source, index, "cache"), "directory", &problems)
        }
        do throws(BanList.Problem) {
            _ = try self.loadBans()
        } catch {
            problems.append(self.problem("\(error)", top, "bans_file"))
        }
        for user in self.linkUsers where getpwnam(user) == nil {
            problems.append(self.problem("this host has no user \(user)", top, "link_users"))
        }
        return problems
    }

    /// Of an embedded source: as all say it who look for the file.
    public static func missingDeviceFile(_ path: String) -> String {
        "there is no file \(path); martlet device add makes the file of the configuration"
    }

    /// What is wrong with a listener's `tls` section.
    public func problem(_ message: String, ofListener index: Int) -> ConfigurationError.Problem {
        ConfigurationError.Problem(
            origin: self.written.origin(of: "listeners.\(index).tls"),
            key: "",
            message: "listener \(self.listeners[index].name): \(message)"
        )
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

    /// Whoever has it can read what clients with tickets have sent.
    private func checkTicketSecret(
        _ path: String,
        _ section: CheckedSection,
        _ key: String,
        _ problems: inout [ConfigurationError.Problem]
    ) {
        let range = Listener.TLS.ticketSecretBytes
        do {
            let bytes = try Self.readFile(path, bytesMax: range.upperBound)
            if bytes.count < range.lowerBound {
                let text = "has \(bytes.count) bytes, at least \(range.lowerBound) random ones are needed"
                problems.append(
                    self.problem("\(path): \(text); make them with openssl rand -out \(path) 48", section, key)
                )
            }
        } catch {
            return problems.append(self.problem("\(path): \(error.message)", section, key))
        }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & 0o007 != 0 else { return }
        problems.append(self.problem("\(path): every user of this host may use it; chmod o= \(path)", section, key))
    }

    private func checkDirectory(
        _ path: String,
        _ section: CheckedSection,
        _ key: String,
        _ problems: inout [ConfigurationError.Problem]
    ) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno != ENOENT { problems.append(self.problem("\(path): \(Self.describe(errno))", section, key)) }
            return
        }
        if status.st_mode & S_IFMT != S_IFDIR {
            problems.append(self.problem("\(path): is not a directory", section, key))
        }
    }
}
