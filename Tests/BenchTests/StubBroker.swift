import Common
import Glibc
import TestSupport

/// A broker for one test that does what the test says, a thread for each connection.
final class StubBroker: @unchecked Sendable {
    /// One connection of a client.
    final class Connection {
        let version: ProtocolVersion
        let connect: ConnectPacket
        /// Counted from 0, over all clients.
        let number: Int
        fileprivate let fileDescriptor: Int32

        fileprivate init(_ connect: ConnectPacket, _ number: Int, _ fileDescriptor: Int32) {
            self.version = connect.version
            self.connect = connect
            self.number = number
            self.fileDescriptor = fileDescriptor
        }

        func send(_ packet: Packet) { self.send(packet.bytes(self.version)) }

        func send(_ bytes: [UInt8]) { _ = Glibc.send(self.fileDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

        func end() { shutdown(self.fileDescriptor, Int32(SHUT_RDWR)) }

        /// What any broker says to it; nothing to a PUBLISH of QoS 0.
        func answer(_ packet: Packet, grants: QoS = .exactlyOnce) {
            switch packet {
            case .connect: self.send(.connack(ConnackPacket(sessionPresent: false, returnCode: 0)))
            case .subscribe(let subscribe):
                let codes = subscribe.subscriptions.map { min($0.qos, grants).rawValue }
                let identifier = subscribe.packetIdentifier
                self.send(.suback(SubackPacket(packetIdentifier: identifier, returnCodes: codes)))
            case .publish(let publish) where publish.qos == .atLeastOnce:
                self.send([0x40, 2, UInt8(publish.packetIdentifier >> 8), UInt8(publish.packetIdentifier & 0xFF)])
            case .publish(let publish) where publish.qos == .exactlyOnce:
                self.send([0x50, 2, UInt8(publish.packetIdentifier >> 8), UInt8(publish.packetIdentifier & 0xFF)])
            case .pubrel(let pubrel):
                self.send([0x70, 2, UInt8(pubrel.packetIdentifier >> 8), UInt8(pubrel.packetIdentifier & 0xFF)])
            default: break
            }
        }
    }

    typealias Answer = (Connection, Packet) -> Void

    let port: UInt16
    private let listening: Int32
    private let answer: Answer
    /// One answer at a time.
    private let monitor = Monitor()
    // Guarded by the monitor.
    private var connections = 0

    /// - Parameter answer: also for CONNECT; called by one thread at a time.
    init(_ answer: @escaping Answer) throws {
        self.answer = answer
        (self.listening, self.port) = try listenOnLoopback()
        self.detach { broker in
            while case let accepted = accept(broker.listening, nil, nil), accepted >= 0 {
                broker.detach { $0.serve(accepted) }
            }
            close(broker.listening)
        }
    }

    /// To look at what `answer` changes.
    func locked<Result>(_ body: () -> Result) -> Result { self.monitor.locked(body) }

    /// No more connections; those that are there end with their clients.
    func stop() { shutdown(self.listening, Int32(SHUT_RDWR)) }

    private final class Work {
        let broker: StubBroker
        let body: (StubBroker) -> Void
        init(_ broker: StubBroker, _ body: @escaping (StubBroker) -> Void) { (self.broker, self.body) = (broker, body) }
    }

    private func detach(_ body: @escaping (StubBroker) -> Void) {
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(self, body)).toOpaque()
        pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                let work = Unmanaged<Work>.fromOpaque(context).takeRetainedValue()
                work.body(work.broker)
                return nil
            },
            work
        )
        pthread_detach(thread)
    }

    private func serve(_ descriptor: Int32) {
        defer { close(descriptor) }
        var connection: Connection?
        while let bytes = Self.packet(from: descriptor) {
            guard let packet = try? Packet.decode(bytes, connection?.version ?? .v5_0) else { return }
            self.monitor.locked {
                if case .connect(let connect) = packet {
                    connection = Connection(connect, self.connections, descriptor)
                    self.connections += 1
                }
                if let connection { self.answer(connection, packet) }
            }
        }
    }

    private static func packet(from descriptor: Int32) -> [UInt8]? {
        var bytes: [UInt8] = []
        func take(_ count: Int) -> Bool {
            var part = [UInt8](repeating: 0, count: count)
            guard count == 0 || recv(descriptor, &part, count, Int32(MSG_WAITALL)) == count else { return false }
            bytes += part
            return true
        }
        guard take(2) else { return nil }
        var (length, shift) = (Int(bytes[1] & 0x7F), 7)
        while bytes[bytes.count - 1] & 0x80 != 0 {
            guard take(1) else { return nil }
            length |= Int(bytes[bytes.count - 1] & 0x7F) << shift
            shift += 7
        }
        return take(length) ? bytes : nil
    }
}
