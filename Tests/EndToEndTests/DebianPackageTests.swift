import Glibc
import TestSupport
import Testing

/// The Debian package, by dpkg in a folder that stands for a host's root; maintainer scripts run, without systemd.
@Suite struct DebianPackageTests {
    private let directory: TemporaryDirectory
    private var root: String { self.directory.file("root") }

    init() throws {
        self.directory = try TemporaryDirectory()
        for folder in [
            "root", "root/var", "root/var/lib", "root/var/lib/dpkg", "root/var/lib/dpkg/info",
            "root/var/lib/dpkg/updates", "root/etc", "root/tmp",
        ] {
            mkdir(self.directory.file(folder), 0o755)
        }
        for file in ["status", "available"] { try writeFile("\(self.root)/var/lib/dpkg/\(file)", []) }
        try writeFile("\(self.root)/etc/passwd", Array("root:x:0:0:root:/root:/bin/sh\n".utf8))
        try writeFile("\(self.root)/etc/group", Array("root:x:0:\n".utf8))
    }

    private func package(version: String) throws -> String {
        let folder = try TestBroker.executablesFolder()
        let repository = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let made = try runProcess(
            "\(repository)/scripts/deb",
            environment: [
                "RELEASE": folder, "OUTPUT": self.directory.path, "VERSION": version, "COMPRESSION": "none",
            ]
        )
        #expect(made.status == 0, "\(made.output)")
        let found = try runProcess("find", arguments: [self.directory.path, "-name", "martlet_\(version)_*.deb"])
        return String(found.output.dropLast())
    }

    private func dpkg(_ arguments: String...) throws {
        let options = [
            "--root=\(self.root)", "--force-script-chrootless", "--force-depends", "--force-not-root",
            "--log=\(self.directory.file("dpkg.log"))",
        ]
        let result = try runProcess("dpkg", arguments: options + arguments)
        #expect(result.status == 0, "\(arguments): \(result.output)")
    }

    private func isThere(_ path: String) -> Bool {
        var information = stat()
        return lstat("\(self.root)/\(path)", &information) == 0
    }

    @Test(.enabled(if: geteuid() == 0, "dpkg sets owners"))
    func `it installs, upgrades, goes and is purged, and what the operator wrote stays`() throws {
        try self.dpkg("--install", self.package(version: "1.0"))
        let users = String(decoding: try readFile("\(self.root)/etc/passwd"), as: UTF8.self)
        for user in ["martlet-router", "martlet-listener", "martlet-auth"] {
            #expect(users.contains("\n\(user):"), "\(users)")
        }
        let mode = try runProcess("stat", arguments: ["-c", "%a %g", "\(self.root)/etc/martlet"]).output
        let groups = String(decoding: try readFile("\(self.root)/etc/group"), as: UTF8.self)
        let group = groups.split(separator: "\n").first { $0.hasPrefix("martlet:") }?.split(separator: ":")[2]
        #expect(mode == "750 \(group ?? "of nobody")\n")

        // What an operator and the running roles leave.
        try writeFile("\(self.root)/etc/martlet/martlet.yaml", Array("mine".utf8))
        for folder in [
            "var/lib/martlet", "var/lib/martlet/router", "etc/systemd", "etc/systemd/system",
            "etc/systemd/system/martlet.target.wants",
        ] {
            mkdir("\(self.root)/\(folder)", 0o755)
        }
        try writeFile("\(self.root)/var/lib/martlet/router/store.db", [1])
        let link = "etc/systemd/system/martlet.target.wants/martlet-listener@2.service"
        symlink("/lib/systemd/system/martlet-listener@.service", "\(self.root)/\(link)")

        try self.dpkg("--install", self.package(version: "1.1"))
        let database = "--admindir=\(self.root)/var/lib/dpkg"
        let version = try runProcess("dpkg-query", arguments: [database, "-W", "martlet"])
        #expect(version.output == "martlet\t1.1\n")
        #expect(self.isThere("var/lib/martlet/router/store.db") && self.isThere(link))

        try self.dpkg("--remove", "martlet")
        #expect(!self.isThere("usr/bin/martlet") && !self.isThere("lib/systemd/system/martlet.target"))
        #expect(self.isThere("var/lib/martlet/router/store.db") && self.isThere("etc/martlet/martlet.yaml.example"))

        try self.dpkg("--purge", "martlet")
        let left = try runProcess("find", arguments: [self.root, "-name", "*martlet*"]).output
        #expect(left == "\(self.root)/etc/martlet\n\(self.root)/etc/martlet/martlet.yaml\n")
    }
}
