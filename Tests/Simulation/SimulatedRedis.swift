import Common
import Glibc
import TestSupport

/// A Redis with what auth workers ask of one: rows, and word of their changes.
final class SimulatedRedis {
    enum Mode: CaseIterable {
        case up
        /// Takes commands and says nothing.
        case silent
        /// Nobody listens.
        case down
    }

    private final class Connection {
        let descriptor: Int32
        let identifier: Int
        var input: [UInt8] = []
        var output: [(at: Instant, bytes: [UInt8])] = []
        var channels: Set<String> = []
        var redirect: Int?

        init(_ descriptor: Int32, _ identifier: Int) {
            self.descriptor = descriptor
            self.identifier = identifier
        }
    }

    private(set) var mode = Mode.up
    private let path: String
    private let clock: SimulatedClock
    private var listening: Int32 = -1
    private var connections: [Connection] = []
    private var nextIdentifier = 1
    private var rows: [String: String] = [:]
    /// Longest time that an answer takes.
    var delayMax: UInt64 = 2 * Nanoseconds.perMillisecond
    private var random: SeededRandom
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)

    init(path: String, clock: SimulatedClock, seed: UInt64) throws {
        self.path = path
        self.clock = clock
        self.random = SeededRandom(seed: seed)
        self.listening = try UnixSocket.listen(path: path)
    }

    deinit {
        self.buffer.deallocate()
    }

    func set(_ key: String, _ value: String?) {
        self.rows[key] = value
        for connection in self.connections {
            guard let target = connection.redirect,
                let subscriber = self.connections.first(where: { $0.identifier == target })
            else { continue }
            let text = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$\(key.utf8.count)\r\n\(key)\r\n"
            subscriber.output.append((self.clock.now, Array(text.utf8)))
        }
    }

    func change(to mode: Mode) throws {
        self.mode = mode
        if mode == .down {
            self.close()
        } else if self.listening < 0 {
            self.listening = try UnixSocket.listen(path: self.path)
        }
    }

    func close() {
        if self.listening >= 0 { Glibc.close(self.listening) }
        self.listening = -1
        for connection in self.connections { Glibc.close(connection.descriptor) }
        self.connections = []
    }

    var deadline: Instant { self.connections.compactMap { $0.output.first?.at }.min() ?? .max }

    /// Takes what came, and sends the answers that are due. Returns whether there was something to do.
    func act() -> Bool {
        guard self.mode == .up else { return false }
        var didSomething = false
        while case let descriptor = accept(self.listening, nil, nil),
            descriptor >= 0
        {
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            self.connections.append(Connection(descriptor, self.nextIdentifier))
            self.nextIdentifier += 1
            didSomething = true
        }
        for connection in self.connections {
            let count = recv(connection.descriptor, self.buffer.baseAddress, self.buffer.count, 0)
            if count > 0 {
                connection.input += self.buffer[..<count]
                while let command = Self.takeCommand(&connection.input) {
                    let delay = UInt64.random(in: 0...self.delayMax, using: &self.random)
                    // Answers come in the order of their commands.
                    let at = max(self.clock.now + delay, connection.output.last?.at ?? 0)
                    connection.output.append((at, Array(self.answer(command, connection).utf8)))
                }
                didSomething = true
            } else if count == 0 {
                Glibc.close(connection.descriptor)
                self.connections.removeAll { $0 === connection }
                didSomething = true
                continue
            }
            while let first = connection.output.first, first.at <= self.clock.now {
                connection.output.removeFirst()
                _ = send(connection.descriptor, first.bytes, first.bytes.count, Int32(MSG_NOSIGNAL))
                didSomething = true
            }
        }
        return didSomething
    }

    // MARK: Commands

    private static func takeCommand(_ input: inout [UInt8]) -> [String]? {
        var offset = 0
        func line() -> String? {
            guard let end = input[offset...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            defer { offset = end + 1 }
            return String(decoding: input[offset..<end - 1], as: UTF8.self)
        }
        guard let header = line(), let count = Int(header.dropFirst()) else { return nil }
        var parts: [String] = []
        for _ in 0..<count {
            guard let length = line().flatMap({ Int($0.dropFirst()) }), input.count >= offset + length + 2 else {
                return nil
            }
            parts.append(String(decoding: input[offset..<offset + length], as: UTF8.self))
            offset += length + 2
        }
        input.removeFirst(offset)
        return parts
    }

    private func answer(_ command: [String], _ connection: Connection) -> String {
        switch (command[0], command.dropFirst().first) {
        case ("PING", _): return connection.channels.isEmpty ? "+PONG\r\n" : "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        case ("CLIENT", "ID"): return ":\(connection.identifier)\r\n"
        case ("CLIENT", "TRACKING"):
            connection.redirect = command.firstIndex(of: "REDIRECT").flatMap { Int(command[$0 + 1]) }
            return "+OK\r\n"
        case ("CLIENT", _), ("SELECT", _): return "+OK\r\n"
        case ("SUBSCRIBE", let channel?):
            connection.channels.insert(channel)
            let count = connection.channels.count
            return "*3\r\n$9\r\nsubscribe\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:\(count)\r\n"
        case ("INFO", _): return Self.bulk("run_id:0123456789abcdef\r\n")
        case ("EXISTS", let key?): return ":\(self.rows[key] == nil ? 0 : 1)\r\n"
        case ("HMGET", let key?): return "*1\r\n" + Self.bulk(self.rows[key])
        default: return "-ERR unknown command\r\n"
        }
    }

    private static func bulk(_ text: String?) -> String {
        text.map { "$\($0.utf8.count)\r\n\($0)\r\n" } ?? "$-1\r\n"
    }
}
