import Glibc

/// CPU time and memory of the broker's processes, by the kernel's own account (proc(5)).
package struct BrokerUsage {
    /// Seconds, user and system, of all threads.
    var cpuSeconds: Double
    /// Proportional set size.
    var bytes: Int
    /// Processes that have ended, and took their account with them.
    var gone: [Int32]

    static func now(_ processes: [Int32]) -> BrokerUsage {
        BrokerUsage(
            cpuSeconds: processes.reduce(0) { $0 + Self.cpuSeconds($1) },
            bytes: processes.reduce(0) { $0 + Self.bytes($1) },
            gone: processes.filter { !Self.isThere($0) }
        )
    }

    /// Of this process.
    static func ownCPUSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    package static func cpuSeconds(_ process: Int32) -> Double {
        guard let directory = opendir("/proc/\(process)/task") else { return 0 }
        defer { closedir(directory) }
        var nanoseconds = 0.0
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard !name.hasPrefix(".") else { continue }
            let text = Self.text("/proc/\(process)/task/\(name)/schedstat")
            nanoseconds += text.split(separator: " ").first.flatMap { Double($0) } ?? 0
        }
        return nanoseconds / 1e9
    }

    /// One that nobody has waited for yet has ended as well.
    private static func isThere(_ process: Int32) -> Bool {
        let text = Self.text("/proc/\(process)/stat")
        guard let end = text.lastIndex(of: ")") else { return false }
        let state = text[end...].dropFirst(2).first
        return state != "Z" && state != "X"
    }

    private static func bytes(_ process: Int32) -> Int {
        for line in Self.text("/proc/\(process)/smaps_rollup").split(separator: "\n") where line.hasPrefix("Pss:") {
            let words = line.split(separator: " ")
            return words.count > 1 ? (Int(words[1]) ?? 0) * 1024 : 0
        }
        return 0
    }

    private static func text(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
