import Glibc

/// CPU time of a process, from the scheduler's own account (proc(5), schedstat).
package enum ProcessTime {
    package static func seconds(_ process: Int) -> Double {
        var total = 0.0
        guard let directory = opendir("/proc/\(process)/task") else { return 0 }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.first != ".", let file = fopen("/proc/\(process)/task/\(name)/schedstat", "r") else { continue }
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 128)
            guard fgets(&line, Int32(line.count), file) != nil else { continue }
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            total += text.split(separator: " ").first.flatMap { Double($0) } ?? 0
        }
        return total / 1e9
    }
}
