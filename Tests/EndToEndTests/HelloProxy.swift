import CLinux
import Common
import Glibc
import TestSupport

/// Stands between listeners and a router, and has the router's hello name a wire version more than it speaks: as one of the next
/// release would, that speaks the one before as well.
final class HelloProxy: @unchecked Sendable {
    private let listening: Int32
    private let target: String
    private let monitor = Monitor()
    // Guarded by the monitor.
    private var connections: [Int32] = []
    private var isStopped = false
    private var threads: [JoinableThread] = []

    /// - Parameters:
    ///   - path: where listeners connect to.
    ///   - target: the router's socket.
    init(path: String, target: String) throws {
        self.target = target
        self.listening = try UnixSocket.listen(path: path)
        // It comes non-blocking, as the others do.
        _ = fcntl(self.listening, F_SETFL, 0)
        let thread = try JoinableThread { self.acceptAll() }
        self.monitor.locked { self.threads.append(thread) }
    }

    /// Cuts everything, and waits for the threads.
    func stop() {
        self.monitor.locked {
            self.isStopped = true
            for connection in self.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
        shutdown(self.listening, Int32(SHUT_RDWR))
        // The first one starts the others, and ends first.
        while let thread = self.monitor.locked({ self.threads.isEmpty ? nil : self.threads.removeFirst() }) {
            thread.join()
        }
        for connection in self.connections { close(connection) }
        close(self.listening)
    }

    private func acceptAll() {
        while case let client = accept(self.listening, nil, nil), client >= 0 {
            guard let server = try? UnixSocket.connect(path: self.target) else {
                close(client)
                continue
            }
            _ = fcntl(server, F_SETFL, 0)
            self.monitor.locked {
                self.connections += [client, server]
                guard !self.isStopped, let up = try? JoinableThread({ self.copy(client, server, rewrites: false) }),
                    let down = try? JoinableThread({ self.copy(server, client, rewrites: true) })
                else { return }
                self.threads += [up, down]
            }
        }
    }

    private func copy(_ source: Int32, _ target: Int32, rewrites: Bool) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var seen = 0
        // After the frame's header: magic, role, lowest version, highest version.
        let highest = FrameHeader.byteCount + 6
        while case let count = recv(source, &buffer, buffer.count, 0), count > 0 {
            if rewrites, (seen..<seen + count).contains(highest) { buffer[highest - seen] += 1 }
            seen += count
            var sent = 0
            while sent < count {
                let written = buffer.withUnsafeBytes {
                    send(target, $0.baseAddress.map { $0 + sent }, count - sent, SendFlags.noSignal)
                }
                guard written > 0 else { break }
                sent += written
            }
            guard sent == count else { break }
        }
        shutdown(source, Int32(SHUT_RDWR))
        shutdown(target, Int32(SHUT_RDWR))
    }
}
