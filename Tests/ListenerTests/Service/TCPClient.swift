import Common
import Glibc
import TestSupport

/// A device on plain TCP: non-blocking, reads when the test looks.
final class TCPClient {
    private let fileDescriptor: Int32
    private(set) var received: [UInt8] = []
    /// The listener has closed its side in an orderly way.
    private(set) var isEnded = false
    /// The connection was reset.
    private(set) var isReset = false

    /// - Parameters:
    ///   - receiveBufferBytes: small for a client that is slow.
    ///   - source: the last byte of the loopback address that it comes from.
    init(_ address: ListenAddress, receiveBufferBytes: Int32? = nil, source: UInt8 = 1) throws {
        self.fileDescriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var bytes = receiveBufferBytes {
            setsockopt(self.fileDescriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        }
        if source != 1 {
            let own = ListenAddress(bytes: [127, 0, 0, source], port: 0)
            guard own.withSocketAddress({ bind(self.fileDescriptor, $0, $1) }) == 0 else {
                throw SystemError("bind to \(own)")
            }
        }
        // The kernel takes it into the backlog: nobody has to accept it for this to return.
        guard address.withSocketAddress({ connect(self.fileDescriptor, $0, $1) }) == 0 else {
            throw SystemError("connect to \(address)")
        }
        _ = fcntl(self.fileDescriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { Glibc.close(self.fileDescriptor) }

    var localAddress: String { SocketAddress.local(of: self.fileDescriptor)?.description ?? "" }

    /// Returns how many bytes the socket took.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int { sendNow(self.fileDescriptor, bytes) }

    func send(_ packet: Packet, _ version: ProtocolVersion = .v3_1_1) { self.send(packet.bytes(version)) }

    /// Takes what has arrived.
    func read(maximum: Int = 1 << 30) {
        var left = maximum
        while left > 0, !self.isEnded, !self.isReset {
            var chunk = [UInt8](repeating: 0, count: min(65_536, left))
            let count = recv(self.fileDescriptor, &chunk, chunk.count, 0)
            if count > 0 {
                self.received += chunk.prefix(count)
                left -= count
            } else if count == 0 {
                self.isEnded = true
            } else {
                self.isReset = errno != EAGAIN
                return
            }
        }
    }

    /// Says that nothing more will come.
    func finish() { shutdown(self.fileDescriptor, Int32(SHUT_WR)) }

    /// All whole packets that have arrived; nil when something is no packet.
    func packets(_ version: ProtocolVersion = .v3_1_1) -> [Packet]? {
        self.read()
        return self.received.withUnsafeBytes { bytes in
            var packets: [Packet] = []
            var offset = 0
            while true {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                switch FixedHeader.decode(rest, version: version) {
                case .needMore: return packets
                case .malformed: return nil
                case .header(let header):
                    guard rest.count >= header.packetBytes else { return packets }
                    let whole = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
                    guard let packet = try? Packet.decode(whole, header: header, version: version) else { return nil }
                    packets.append(packet)
                    offset += header.packetBytes
                }
            }
        }
    }
}
