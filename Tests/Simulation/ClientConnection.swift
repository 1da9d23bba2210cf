import Common
import Glibc

/// A client's end of one network connection.
final class ClientConnection {
    let listener: SimulatedProcess
    /// Which start of the listener it is connected to.
    let generation: Int
    let version: ProtocolVersion
    var isOpen = false
    var output: [UInt8] = []
    private let descriptor: Int32
    private var input: [UInt8] = []
    private var isClosed = false
    /// It has the beginning of a packet.
    var isInsidePacket: Bool { !self.input.isEmpty }

    /// Nil: nobody listens.
    init?(_ listener: SimulatedProcess, path: String, version: ProtocolVersion) {
        guard let descriptor = try? UnixSocket.connect(path: path) else { return nil }
        self.descriptor = descriptor
        self.listener = listener
        self.generation = listener.generation
        self.version = version
    }

    deinit {
        self.close()
    }

    func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        Glibc.close(self.descriptor)
    }

    /// Sends a part of what waits, and is gone.
    func breakOff(after bytes: Int) {
        self.output.removeLast(max(0, self.output.count - bytes))
        self.flush()
        self.close()
    }

    /// Whether its listener ended, or is about to.
    var hasLostListener: Bool {
        self.listener.generation != self.generation || !self.listener.isRunning || self.listener.isStopping
    }

    /// Returns whether something was sent.
    @discardableResult
    func flush() -> Bool {
        guard !self.output.isEmpty, !self.isClosed else { return false }
        let count = send(self.descriptor, self.output, self.output.count, Int32(MSG_NOSIGNAL))
        guard count > 0 else { return false }
        self.output.removeFirst(count)
        return true
    }

    enum Arrival {
        case nothing
        case packets([Packet])
        /// The other side has closed it, after these.
        case end([Packet])
        case broken(String)
    }

    func receive(_ buffer: UnsafeMutableRawBufferPointer) -> Arrival {
        var hasEnded = false
        var hasBytes = false
        while !hasEnded {
            let count = recv(self.descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 {
                self.input += buffer[..<count]
                hasBytes = true
            } else if count < 0 && errno == EAGAIN {
                break
            } else {
                hasEnded = true
            }
        }
        guard hasBytes || hasEnded else { return .nothing }
        do throws(DecodeError) {
            let packets = try self.takePackets()
            return hasEnded ? .end(packets) : .packets(packets)
        } catch {
            return .broken("\(error)")
        }
    }

    private func takePackets() throws(DecodeError) -> [Packet] {
        var packets: [Packet] = []
        var problem: DecodeError?
        var offset = 0
        self.input.withUnsafeBytes { bytes in
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard case .header(let header) = FixedHeader.decode(rest, version: self.version),
                    header.packetBytes <= rest.count
                else { return }
                do throws(DecodeError) {
                    let packet = UnsafeRawBufferPointer(rebasing: rest[..<header.packetBytes])
                    packets.append(try Packet.decode(packet, header: header, version: self.version))
                } catch {
                    problem = error
                    return
                }
                offset += header.packetBytes
            }
        }
        if let problem { throw problem }
        self.input.removeFirst(offset)
        return packets
    }
}
