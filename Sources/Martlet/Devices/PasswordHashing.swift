import Common
import Devices
import Glibc

/// Hashes many passwords, on all cores: each takes milliseconds, which is what it is for.
final class PasswordHashing: @unchecked Sendable {
    typealias Made = (secret: [UInt8], salt: [UInt8])

    private let passwords: [[UInt8]]
    private let monitor = Monitor()
    // Under the monitor.
    private var made: [Made?]
    private var next = 0
    private var done = 0
    private var hasFailed = false

    private static let threadsMax = 64

    private init(_ passwords: [[UInt8]]) {
        self.passwords = passwords
        self.made = Array(repeating: nil, count: passwords.count)
    }

    /// In the order of the passwords; nil: OpenSSL cannot.
    ///
    /// - Parameter progress: called about once a second.
    static func hash(_ passwords: [[UInt8]], progress: (_ done: Int, _ of: Int) -> Void) -> [Made]? {
        let work = PasswordHashing(passwords)
        let cores = min(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), Self.threadsMax, passwords.count)
        var threads: [JoinableThread] = []
        while threads.count < cores, let thread = try? JoinableThread({ work.run() }) { threads.append(thread) }
        // No thread can be had: one is here.
        if threads.isEmpty { work.run() }
        while work.waitsForMore() { progress(work.monitor.locked { work.done }, passwords.count) }
        for thread in threads { thread.join() }
        return work.hasFailed ? nil : work.made.compactMap { $0 }
    }

    /// After a second; false: all is done.
    private func waitsForMore() -> Bool {
        self.monitor.locked {
            func isOver() -> Bool { self.done == self.passwords.count || self.hasFailed }
            self.monitor.wait(nanoseconds: Nanoseconds.perSecond, until: isOver)
            return !isOver()
        }
    }

    private func run() {
        while let index = self.take() {
            let made = DevicePassword.make(self.passwords[index])
            self.monitor.locked {
                self.made[index] = made
                self.done += 1
                if made == nil { self.hasFailed = true }
                if self.hasFailed || self.done == self.passwords.count { self.monitor.signal() }
            }
        }
    }

    private func take() -> Int? {
        self.monitor.locked {
            guard !self.hasFailed, self.next < self.passwords.count else { return nil }
            defer { self.next += 1 }
            return self.next
        }
    }
}
