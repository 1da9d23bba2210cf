import Common
import Glibc

/// Where `martlet run --quick-start DIR` keeps what.
package struct QuickStartLayout: Equatable, Sendable {
    /// The device that the quick start knows, as EMQX's tutorial names it.
    package static let deviceName = "346a004d-1dab-4016-bb38-03cca7094415"
    package static let devicePassword = "public"

    /// Absolute, without a slash at the end.
    package let directory: String
    /// Of the Unix sockets. `<directory>/run`, or a shorter one elsewhere when that is too long for them.
    package let runtimeDirectory: String

    package var configurationFile: String { "\(self.directory)/martlet.yaml" }
    package var lockFile: String { "\(self.directory)/lock" }
    package var caCertificate: String { "\(self.directory)/ca.crt" }
    package var caKey: String { "\(self.directory)/ca.key" }
    package var serverCertificate: String { "\(self.directory)/server.crt" }
    package var serverKey: String { "\(self.directory)/server.key" }
    package var deviceCertificate: String { "\(self.directory)/device.crt" }
    package var deviceKey: String { "\(self.directory)/device.key" }
    package var redisDirectory: String { "\(self.directory)/redis" }
    package var redisSocket: String { "\(self.runtimeDirectory)/redis.sock" }
    /// The paths of sockets would be too long below the folder itself.
    package var usesRuntimeDirectoryElsewhere: Bool { self.runtimeDirectory != "\(self.directory)/run" }

    /// - Parameters:
    ///   - directory: absolute.
    ///   - userRuntimeDirectory: `$XDG_RUNTIME_DIR`.
    ///   - userID: keeps the folders of several users in /tmp apart.
    package init(directory: String, userRuntimeDirectory: String?, userID: uid_t) {
        self.directory = directory
        let bytesMax = Configuration.runtimeDirectoryBytesMax
        let own = "\(directory)/run"
        if own.utf8.count <= bytesMax {
            self.runtimeDirectory = own
            return
        }
        let name = Self.hash(directory)
        if let userRuntimeDirectory, userRuntimeDirectory.hasPrefix("/") {
            let path = "\(userRuntimeDirectory)/martlet-\(name)"
            if path.utf8.count <= bytesMax {
                self.runtimeDirectory = path
                return
            }
        }
        self.runtimeDirectory = "/tmp/martlet-\(userID)-\(name)"
    }

    /// The same folder gets the same name at each start.
    private static func hash(_ text: String) -> String {
        String(FNV1a(text.utf8).value, radix: 16)
    }

    /// The configuration that is written when there is none.
    package func configurationText() -> String {
        let runtime = self.usesRuntimeDirectoryElsewhere ? Self.quoted(self.runtimeDirectory) : "run"
        return """
            # Written by `martlet run --quick-start`, and yours to change: it is written again only when it is gone.
            # All keys: docs/configuration.md. Relative paths count from this file's folder.

            runtime_directory: \(runtime)
            state_directory: state

            processes:
              listeners: 2
              auth_workers: 1

            listeners:
              - name: devices
                addresses: ["[::]:8883"]
                client_certificate: required
                tls:
                  certificate_file: server.crt
                  key_file: server.key
                  client_ca_file: ca.crt

            authentication:
              command: HMGET tls_domain:%C password
              # Without an address here the quick start runs a Redis of its own, in redis/.
              # redis: {url: "redis://127.0.0.1:6379/0"}

            authorization:
              rules:
                default:
                  - allow: all
                    topics: ["devices/%C/#"]

            """
    }

    /// A YAML text in double quotation marks.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }
}
