import TestSupport
import Testing

@testable import TLS

/// KeyUpdate (RFC 8446, section 4.6.3): cheap to send and not to receive.
@Suite struct KeyUpdateTests {
    private let pair: TLSPair

    init() throws {
        let certificates = try TestCertificates()
        self.pair = try TLSPair(
            certificates.serverConfiguration,
            certificates.clientConfiguration(try certificates.client("device-1"))
        )
        try self.pair.connect()
    }

    private func updateKey(times: Int) {
        for _ in 0..<times where !self.pair.client.updateKey() { return }
    }

    @Test func someBetweenDataAreFine() throws {
        for round in 1...20 {
            self.updateKey(times: 30)
            #expect(self.pair.client.write([UInt8(round)]) == .bytes(1))
            let (result, bytes) = self.pair.server.read()
            #expect(bytes == [UInt8(round)], "\(result) \(self.pair.server.messagesWithoutData)")
        }
    }

    @Test func manyWithoutDataEndTheConnection() throws {
        self.updateKey(times: 200)
        _ = self.pair.client.write([1])
        let (result, bytes) = self.pair.server.read()
        #expect(result.failure?.detail == "more than 32 handshake messages without data between them", "\(result)")
        #expect(bytes.isEmpty)
        #expect(
            self.pair.server.messagesWithoutData == TLSConnection.messagesWithoutDataMax + 1,
            "the rest is not looked at"
        )
    }
}
