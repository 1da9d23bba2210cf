import Glibc
import TLS
import TestSupport
import Testing

@Suite struct TransferTests {
    let certificates: TestCertificates
    let pair: TLSPair

    init() throws {
        self.certificates = try TestCertificates()
        self.pair = try TLSPair(
            self.certificates.serverConfiguration,
            self.certificates.clientConfiguration(try self.certificates.client("device-1"))
        )
        try self.pair.connect()
    }

    /// Moves `data` over, with a new copy of the rest for each write (the memory moves), and returns what arrived and how
    /// often the writer had to wait.
    private func transfer(
        _ data: [UInt8],
        from sender: TLSConnection,
        to receiver: TLSConnection,
        chunk: Int
    ) -> (
        received: [UInt8], waits: Int
    ) {
        var rest = data
        var received: [UInt8] = []
        var waits = 0
        var idle = 0
        while received.count < data.count, idle < 100 {
            idle += 1
            write: while !rest.isEmpty {
                switch sender.write(rest) {
                case .bytes(let count):
                    rest = Array(rest.dropFirst(count))
                    idle = 0
                case .wantsWrite:
                    waits += 1
                    break write
                default:
                    break write
                }
            }
            while case (.bytes, let bytes) = receiver.read(upTo: chunk), !bytes.isEmpty {
                received += bytes
                idle = 0
            }
        }
        return (received, waits)
    }

    @Test(arguments: [(4096, true), (65536, true), (65536, false), (777, false)])
    func largeTransfersInBothDirections(_ chunk: Int, _ fromServer: Bool) {
        let data = (0..<1_500_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let (sender, receiver) =
            fromServer ? (self.pair.server, self.pair.client) : (self.pair.client, self.pair.server)
        let (received, waits) = self.transfer(data, from: sender, to: receiver, chunk: chunk)
        #expect(received == data)
        #expect(waits > 0, "the socket's buffer is smaller than the data")
        #expect(receiver.read().result == .wantsRead)
    }

    @Test func oneRecordAWrite() {
        #expect(self.pair.server.write([UInt8](repeating: 7, count: 40000)) == .bytes(16384))
        #expect(self.pair.server.write([]) == .bytes(0))
    }

    @Test func bytesLeftInsideAreReported() {
        #expect(self.pair.server.write(Array("first".utf8)) == .bytes(5))
        #expect(self.pair.server.write(Array("second".utf8)) == .bytes(6))
        #expect(!self.pair.client.hasPending)
        // Read-ahead takes both records from the socket at once.
        #expect(self.pair.client.read(upTo: 5).bytes == Array("first".utf8))
        #expect(self.pair.client.hasPending)
        #expect(self.pair.client.read().bytes == Array("second".utf8))
        #expect(!self.pair.client.hasPending)
        #expect(self.pair.client.read().result == .wantsRead)
    }

    @Test func closeNotify() {
        #expect(self.pair.client.write([1]) == .bytes(1))
        self.pair.client.shutdown()
        #expect(self.pair.server.read().bytes == [1])
        #expect(self.pair.server.read().result == .closed)
        #expect(self.pair.server.read().result == .closed)
        // The other direction still works until it is closed too.
        #expect(self.pair.server.write([2]) == .bytes(1))
        self.pair.server.shutdown()
        #expect(self.pair.client.read().bytes == [2])
        #expect(self.pair.client.read().result == .closed)
    }

    @Test func abruptClose() throws {
        #expect(self.pair.client.write([1]) == .bytes(1))
        self.pair.closeClient()
        #expect(self.pair.server.read().bytes == [1])
        // A child that another test has just forked holds the socket until it executes its program.
        try waitUntil("nobody holds the other end") { self.pair.server.read().result != .wantsRead }
        #expect(self.pair.server.read().result == .closed)
        // SIGPIPE would end the test process here.
        #expect(self.pair.server.write([2]) == .closed)
        self.pair.server.shutdown()
    }

    @Test func garbageInsideTheStream() {
        let noise = [UInt8](repeating: 0x55, count: 100)
        #expect(Glibc.write(self.pair.clientDescriptor, noise, noise.count) == noise.count)
        #expect(self.pair.server.read().result.failure != nil)
        // The failure belongs to this connection alone: its errors do not leak into the next call of another one.
        #expect(self.pair.client.read().result.failure?.kind == .alertReceived)
    }

    @Test func errorsOfOneConnectionDoNotReachAnother() throws {
        let other = try TLSPair(
            self.certificates.serverConfiguration,
            self.certificates.clientConfiguration(nil)
        )
        #expect(other.handshake().server.failure?.kind == .noClientCertificate)
        #expect(self.pair.server.read().result == .wantsRead)
    }
}
