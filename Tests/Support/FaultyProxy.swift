import CLinux
import Common
import Glibc

/// A TCP relay on a thread of its own that can be told to misbehave: between an auth worker and its Redis.
package final class FaultyProxy: @unchecked Sendable {
    package enum Fault: Equatable, Sendable {
        case none
        /// Every byte from the server comes this much later.
        case delay(milliseconds: Int)
        /// Nothing comes through in either direction, and nothing is closed: as when packets are dropped.
        case swallow
        /// The connection is reset after so many bytes of answers.
        case resetAfter(Int)
        /// One connection is reset in the middle of what the server sends at once, if it is so much; then all is well.
        case resetOnce(bytes: Int)
        /// In place of what the server answers.
        case answer([UInt8])
    }

    package let port: UInt16
    private let target: UInt16
    private let listening: Int32
    private let monitor = Monitor()
    // Guarded by the monitor.
    private var currentFault = Fault.none
    private var isStopped = false
    private var thread: pthread_t?

    // Of the thread alone.
    private struct Pair {
        var client: Int32
        var server: Int32
        var answered = 0
        var held: [(due: Instant, bytes: [UInt8])] = []
    }
    private var pairs: [Pair] = []

    package var fault: Fault {
        get { self.monitor.locked { self.currentFault } }
        set { self.monitor.locked { self.currentFault = newValue } }
    }

    /// - Parameter target: a port of this host.
    package init(target: UInt16) throws {
        self.target = target
        (self.listening, self.port) = try listenOnLoopback(blocks: false)
        var thread = pthread_t()
        let context = Unmanaged.passUnretained(self).toOpaque()
        pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<FaultyProxy>.fromOpaque(context).takeUnretainedValue().run() }
                return nil
            },
            context
        )
        self.thread = thread
    }

    /// To be called before it goes.
    package func stop() {
        self.monitor.locked { self.isStopped = true }
        if let thread = self.thread { pthread_join(thread, nil) }
        self.thread = nil
    }

    deinit {
        self.stop()
        close(self.listening)
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    // MARK: The thread

    private func run() {
        while !self.monitor.locked({ self.isStopped }) {
            let fault = self.fault
            var entries = [pollfd(fd: self.listening, events: Int16(POLLIN), revents: 0)]
            if fault != .swallow {
                for pair in self.pairs {
                    entries.append(pollfd(fd: pair.client, events: Int16(POLLIN), revents: 0))
                    entries.append(pollfd(fd: pair.server, events: Int16(POLLIN), revents: 0))
                }
            }
            poll(&entries, nfds_t(entries.count), 2)
            if entries[0].revents != 0 { self.accept() }
            guard fault != .swallow else { continue }
            var ended: [Int] = []
            for index in self.pairs.indices where 2 + 2 * index < entries.count {
                let isOpen = self.relay(
                    index,
                    fromClient: entries[1 + 2 * index].revents != 0,
                    fromServer: entries[2 + 2 * index].revents != 0,
                    fault
                )
                if !isOpen { ended.append(index) }
            }
            for index in ended.reversed() {
                let pair = self.pairs.remove(at: index)
                close(pair.client)
                close(pair.server)
            }
        }
        for pair in self.pairs {
            close(pair.client)
            close(pair.server)
        }
    }

    private func accept() {
        let client = Glibc.accept(self.listening, nil, nil)
        guard client >= 0 else { return }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.address(self.target)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(server)
            close(client)
            return
        }
        self.pairs.append(Pair(client: client, server: server))
    }

    /// False: the connection has ended.
    private func relay(_ index: Int, fromClient: Bool, fromServer: Bool, _ fault: Fault) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        if fromClient {
            let count = recv(self.pairs[index].client, &buffer, buffer.count, 0)
            guard count > 0 else { return false }
            _ = send(self.pairs[index].server, buffer, count, Int32(MSG_NOSIGNAL))
        }
        if fromServer {
            let count = recv(self.pairs[index].server, &buffer, buffer.count, 0)
            guard count > 0 else { return false }
            self.pairs[index].answered += count
            var bytes = Array(buffer[..<count])
            var delay: UInt64 = 0
            switch fault {
            case .none, .swallow: break
            case .delay(let milliseconds): delay = UInt64(milliseconds) * Nanoseconds.perMillisecond
            case .answer(let other): bytes = other
            case .resetAfter, .resetOnce:
                var isDue = false
                if case .resetAfter(let limit) = fault { isDue = self.pairs[index].answered >= limit }
                if case .resetOnce(let minimum) = self.fault, count >= minimum {
                    isDue = true
                    self.fault = .none
                }
                if isDue {
                    _ = send(self.pairs[index].client, bytes, count / 2, Int32(MSG_NOSIGNAL))
                    var reset = linger(l_onoff: 1, l_linger: 0)
                    setsockopt(
                        self.pairs[index].client,
                        SOL_SOCKET,
                        SO_LINGER,
                        &reset,
                        socklen_t(MemoryLayout<linger>.size)
                    )
                    return false
                }
            }
            self.pairs[index].held.append((Clock.monotonic() &+ delay, bytes))
        }
        while let first = self.pairs[index].held.first, first.due <= Clock.monotonic() {
            _ = send(self.pairs[index].client, first.bytes, first.bytes.count, Int32(MSG_NOSIGNAL))
            self.pairs[index].held.removeFirst()
        }
        return true
    }
}
