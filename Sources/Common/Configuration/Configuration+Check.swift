import Glibc

extension Configuration {
    /// What is wrong with the files, folders and users that the configuration names, as this process sees them: one sentence
    /// each. Folders that are not there yet are made at start-up and no mistake.
    public func check() -> [String] {
        var problems: [String] = []
        for listener in self.listeners {
            guard let tls = listener.tls else { continue }
            let files = [
                ("certificate_file", tls.certificateFile), ("key_file", tls.keyFile),
                ("key_password_file", tls.keyPasswordFile), ("client_ca_file", tls.clientCAFile),
            ]
            for case (let key, let path?) in files {
                Self.checkFile(path, "listeners.\(listener.name).tls.\(key)", &problems)
            }
            for path in tls.crlFiles { Self.checkFile(path, "listeners.\(listener.name).tls.crl_files", &problems) }
            if let path = tls.crlDirectory {
                Self.checkDirectory(path, "listeners.\(listener.name).tls.crl_directory", &problems)
            }
        }
        for source in self.authentication.sources where source.kind == .redis {
            let path = source.name.isEmpty ? "authentication" : "authentication.sources.\(source.name)"
            var files = [
                ("password_file", source.redis.passwordFile), ("tls.ca_file", source.redis.tls.caFile),
                ("tls.certificate_file", source.redis.tls.certificateFile), ("tls.key_file", source.redis.tls.keyFile),
                ("tls.key_password_file", source.redis.tls.keyPasswordFile),
            ]
            if case .sentinel(let sentinel) = source.redis.topology {
                files.append(("sentinel.password_file", sentinel.passwordFile))
            }
            for case (let key, let file?) in files { Self.checkFile(file, "\(path).redis.\(key)", &problems) }
        }
        Self.checkDirectory(self.runtimeDirectory, "runtime_directory", &problems)
        Self.checkDirectory(self.stateDirectory, "state_directory", &problems)
        for source in self.authentication.sources where source.cache.enabled {
            let path = source.name.isEmpty ? "authentication" : "authentication.sources.\(source.name)"
            Self.checkDirectory(source.cache.directory, "\(path).cache.directory", &problems)
        }
        do throws(BanList.Problem) {
            _ = try self.loadBans()
        } catch {
            problems.append("bans_file: \(error)")
        }
        for user in self.linkUsers where getpwnam(user) == nil {
            problems.append("link_users: this host has no user \(user)")
        }
        return problems
    }

    /// No key or certificate bundle is larger.
    private static let secretFileBytesMax = 16 * 1024 * 1024

    private static func checkFile(_ path: String, _ key: String, _ problems: inout [String]) {
        do {
            let bytes = try Self.readFile(path, bytesMax: Self.secretFileBytesMax)
            if bytes.isEmpty { problems.append("\(key): \(path): is empty") }
        } catch {
            problems.append("\(key): \(path): \(error.message)")
        }
    }

    private static func checkDirectory(_ path: String, _ key: String, _ problems: inout [String]) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno != ENOENT { problems.append("\(key): \(path): \(Self.describe(errno))") }
            return
        }
        if status.st_mode & S_IFMT != S_IFDIR { problems.append("\(key): \(path): is not a directory") }
    }
}
