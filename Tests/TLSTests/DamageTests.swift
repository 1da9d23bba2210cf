import Common
import Glibc
import TLS
import TestSupport
import Testing

/// Handshakes in which bytes are changed on the way. TLS 1.2 shows certificates in the clear, so damage reaches their parser.
@Suite struct DamageTests {
    /// Some bytes do not count (the record version of a ClientHello), so a handshake may succeed, but never as somebody else.
    @Test(arguments: [TLSVersion.v1_2, .v1_3])
    func damagedHandshakesFailAndNeverCrash(_ version: TLSVersion) throws {
        let certificates = try TestCertificates()
        var serverConfiguration = certificates.serverConfiguration
        var clientConfiguration = certificates.clientConfiguration(try certificates.client("device-1"))
        serverConfiguration.maximumVersion = version
        clientConfiguration.maximumVersion = version
        let server = try TLSServerContext(serverConfiguration)
        let client = try TLSClientContext(clientConfiguration)
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var failures = 0
        for round in 0..<60 {
            // The client's part of a handshake is 850 bytes or more.
            let damaged = Int.random(in: 0..<850, using: &random)
            let bit = UInt8.random(in: 0..<8, using: &random)
            let relay = try Relay(damagedByte: damaged, mask: 1 << bit)
            let name = try relay.run(server: server, client: client)
            let comment: Comment = "seed \(seed), round \(round): byte \(damaged), bit \(bit)"
            if let name { #expect(name == Array("CN=device-1".utf8), comment) }
            failures += name == nil ? 1 : 0
        }
        #expect(failures > 30, "seed \(seed): most damage is noticed")
    }
}

/// Two socket pairs and a relay between them that changes one byte of what the client sends.
private final class Relay {
    private let descriptors: (clientNear: Int32, clientFar: Int32, serverNear: Int32, serverFar: Int32)
    private let damagedByte: Int
    private let mask: UInt8
    private var position = 0

    init(damagedByte: Int, mask: UInt8) throws {
        let (clientNear, clientFar) = try makeSocketPair()
        let (serverNear, serverFar) = try makeSocketPair()
        self.descriptors = (clientNear, clientFar, serverNear, serverFar)
        self.damagedByte = damagedByte
        self.mask = mask
    }

    deinit {
        close(self.descriptors.clientNear)
        close(self.descriptors.clientFar)
        close(self.descriptors.serverNear)
        close(self.descriptors.serverFar)
    }

    /// The subject that the server sees; nil when the handshake fails or waits for bytes that never come.
    func run(server: TLSServerContext, client: TLSClientContext) throws -> [UInt8]? {
        let clientEnd = try #require(client.makeConnection(fileDescriptor: self.descriptors.clientNear))
        let serverEnd = try #require(server.makeConnection(fileDescriptor: self.descriptors.serverNear))
        var serverResult = TLSConnection.HandshakeResult.wantsRead
        var clientResult = TLSConnection.HandshakeResult.wantsRead
        for _ in 0..<10 {
            if !clientResult.isFinal { clientResult = clientEnd.handshake() }
            self.move(from: self.descriptors.clientFar, to: self.descriptors.serverFar, damaging: true)
            if !serverResult.isFinal { serverResult = serverEnd.handshake() }
            self.move(from: self.descriptors.serverFar, to: self.descriptors.clientFar, damaging: false)
        }
        _ = serverEnd.read()
        _ = clientEnd.read()
        return serverResult == .done ? try serverEnd.peerCertificateIdentity()?.subject : nil
    }

    private func move(from source: Int32, to target: Int32, damaging: Bool) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = read(source, &buffer, buffer.count)
        guard count > 0 else { return }
        if damaging {
            let index = self.damagedByte - self.position
            if index >= 0, index < count { buffer[index] ^= self.mask }
            self.position += count
        }
        _ = write(target, buffer, count)
    }
}
