import Common
import Glibc
import TLS
import TestSupport
import Testing

@testable import Listener

/// KeyUpdates from clients that do not read what is sent to them.
@Suite struct ListenerKeyUpdateTests {
    /// A client with a session, which is read and written when the test says so.
    private final class Client {
        let harness: ServiceHarness
        private let fileDescriptor: Int32
        private let tls: TLSConnection
        private(set) var received: [UInt8] = []

        init(_ harness: ServiceHarness, _ address: ListenAddress, _ context: TLSClientContext) throws {
            self.harness = harness
            let fileDescriptor = try makeSocket(AF_INET, blocks: false)
            self.fileDescriptor = fileDescriptor
            var bytes: Int32 = 4096
            setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
            let result = address.withSocketAddress { Glibc.connect(fileDescriptor, $0, $1) }
            guard result == 0 || errno == EINPROGRESS else { throw SystemError("connect to \(address)") }
            self.tls = try #require(context.makeConnection(fileDescriptor: fileDescriptor))
            try harness.wait("the handshake") { self.tls.handshake() == .done }
        }

        deinit { close(self.fileDescriptor) }

        func send(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { self.tls.write($0) } == .bytes(bytes.count)
        }

        /// - Returns: false: there is no room for more.
        func updateKey() -> Bool { self.tls.updateKey() }

        func read() {
            withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 16) { space in
                while case .bytes(let count) = self.tls.read(into: space) { self.received += space[..<count] }
            }
        }
    }

    private func makeClient() throws -> (client: Client, handle: UInt64) {
        let certificates = try TestCertificates()
        let harness = try ServiceHarness { configuration in
            var tls = Configuration.Listener.TLS()
            tls.certificateFile = certificates.server.certificate
            tls.keyFile = certificates.server.key
            tls.clientCAFile = certificates.caFile
            configuration.listeners[0].transport = .tls
            configuration.listeners[0].clientCertificate = .required
            configuration.listeners[0].tls = tls
        }
        let context = try TLSClientContext(certificates.clientConfiguration(try certificates.client("device-1")))
        let client = try Client(harness, harness.address, context)
        #expect(client.send(Packet.connect(ConnectPacket(version: .v3_1_1, clientIdentifier: [0x61])).bytes(.v3_1_1)))
        try harness.wait("sessionOpen") { harness.router.frames(.sessionOpen).count == 1 }
        let handle = try #require(harness.router.frames(.sessionOpen).first).handle
        harness.router.accept(handle)
        try harness.wait("CONNACK") {
            client.read()
            return client.received.count == 4
        }
        return (client, handle)
    }

    @Test("A client that updates its keys and does not read costs nothing while it is quiet", arguments: [false, true])
    func floodWithoutReading(isReadNoMore: Bool) throws {
        let (client, handle) = try self.makeClient()
        let harness = client.harness
        // Until its socket takes no more, or so much more that it is not read any more.
        let further = isReadNoMore ? 2 << 20 : 0
        let packet = harness.publish(60_000)
        var sent = 0
        let connection = try #require(harness.service.connection(handle))
        while connection.output.isEmpty || connection.output.readableBytes < further {
            harness.router.deliver(handle, packet)
            sent += packet.count
            try harness.loop.turnUntilQuiet(turns: 2)
        }
        var pings = 0
        for _ in 0..<300 {
            for _ in 0..<20 where !client.updateKey() { break }
            guard client.send([0xC0, 0x00]) else { break }
            pings += 1
            try harness.loop.turn(maximumWaitNanoseconds: 0)
        }
        try harness.loop.turnUntilQuiet(turns: 20)
        #expect(connection.phase == .open && pings > 20, "\(pings) \(connection.phase) \(harness.log.lines)")
        // Nothing happens: each turn waits for as long as it may, but for some timers.
        let end = Clock.monotonic() + 500 * Nanoseconds.perMillisecond
        var turns = 0
        while Clock.monotonic() < end {
            try harness.loop.turn(maximumWaitNanoseconds: 100 * Nanoseconds.perMillisecond)
            turns += 1
        }
        #expect(turns < 100)
        let expected = 4 + sent + 2 * pings
        try harness.wait("everything that was sent") {
            client.read()
            return client.received.count >= expected
        }
        #expect(client.received.count == expected)
        #expect(client.received.suffix(2 * pings) == ArraySlice(Array(repeating: [0xD0, 0x00], count: pings).joined()))
    }
}
