import Glibc

/// Processes of a role beyond the number that the configuration says: the others do not reckon with them.
public enum SurplusInstance {
    /// What the process is not used for, and what to do; nil: it is one of those that the configuration has.
    static func problem(
        role: LinkHello.Role,
        instance: Int,
        configuration: Configuration,
        file: String
    ) -> String? {
        guard let (key, count) = Self.setting(role, configuration), instance > count else { return nil }
        let consequence =
            role == .listener ? "it serves clients all the same" : "no listener asks it"
        return
            "\(key) is \(count), and this is number \(instance): \(consequence); raise \(key) in \(file) and start the roles "
            + "anew, or stop this one"
    }

    private static func setting(_ role: LinkHello.Role, _ configuration: Configuration) -> (key: String, count: Int)? {
        switch role {
        case .listener: ("processes.listeners", configuration.processes.listeners)
        case .authWorker: ("processes.auth_workers", configuration.processes.authWorkers)
        case .router, .tool: nil
        }
    }

    /// Those that have left a socket for the tool, running or not, in their order.
    public static func found(_ role: LinkHello.Role, _ configuration: Configuration) -> [Int] {
        guard let (_, count) = Self.setting(role, configuration), let folder = opendir(configuration.controlDirectory)
        else { return [] }
        defer { closedir(folder) }
        let (prefix, suffix) = ("\(RoleProcess.label(of: role))-", ".sock")
        var instances: [Int] = []
        while let entry = readdir(folder), instances.count < Self.foundMax {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix(prefix), name.hasSuffix(suffix),
                let instance = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), instance > count
            else { continue }
            instances.append(instance)
        }
        return instances.sorted()
    }

    private static let foundMax = 256
}
