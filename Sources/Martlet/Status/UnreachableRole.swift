import Common
import Glibc

/// Why a role on this host cannot be asked, and what to do about it.
enum UnreachableRole {
    /// - Parameter path: of the role's socket.
    static func describe(
        _ error: SystemError,
        _ role: LinkHello.Role,
        instance: Int,
        path: String
    ) -> String {
        switch error.code {
        case _ where Self.isAbsent(error):
            return
                "not running (nobody answers at \(path)); under systemd see systemctl status \(Self.unit(role, instance))"
        case EACCES, EPERM:
            return "not allowed to connect to \(path); be root, or a user that link_users names"
        default: return error.description
        }
    }

    /// Nobody is at the role's socket.
    static func isAbsent(_ error: SystemError) -> Bool { error.code == ENOENT || error.code == ECONNREFUSED }

    /// Nothing has ever been started with this configuration since the host has.
    static func missingDirectory(_ configuration: Configuration) -> String? {
        guard Folder.isAbsent(configuration.runtimeDirectory) else { return nil }
        return
            "there is no \(configuration.runtimeDirectory) (runtime_directory): no role of this configuration has been started; "
            + "systemctl start martlet.target does so, or martlet run"
    }

    private static func unit(_ role: LinkHello.Role, _ instance: Int) -> String {
        let label = RoleProcess.label(of: role)
        return role == .router ? "martlet-\(label)" : "martlet-\(label)@\(instance)"
    }
}
