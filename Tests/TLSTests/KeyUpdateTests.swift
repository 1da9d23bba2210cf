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

    /// OpenSSL answers in the middle of its reading, and took that for a wrong repetition of the write that had not gone through: "bad
    /// length".
    @Test(
        "regression: a request for a new key while the own write is blocked does not end the connection",
        arguments: [1, 3, 3000]
    )
    func requestWhileBlocked(_ requests: Int) throws {
        let data = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var rest = data[...]
        func writeMore() throws {
            while !rest.isEmpty {
                switch self.pair.server.write(Array(rest)) {
                case .bytes(let count): rest = rest.dropFirst(count)
                case .wantsWrite, .wantsRead: return
                case let result: throw ProcessError(description: "\(result)")
                }
            }
        }
        try writeMore()
        #expect(!rest.isEmpty, "the socket takes everything")
        // The client reads nothing of it, and is read all the time.
        var sent = 0
        var read = 0
        while sent < requests, self.pair.client.updateKey(asksForOne: true), self.pair.client.write([7]) == .bytes(1) {
            sent += 1
            let (result, bytes) = self.pair.server.read()
            guard result.failure == nil else { throw ProcessError(description: "\(result)") }
            read += bytes.count
            try writeMore()
        }
        #expect(read > 0 && (requests > 3 || read == requests), "\(sent) \(read)")
        // Then it reads.
        var received: [UInt8] = []
        var turns = 0
        while received.count < data.count || read < sent {
            turns += 1
            try #require(turns < 10_000, "\(received.count) of \(data.count) bytes, \(read) of \(sent)")
            let (result, bytes) = self.pair.client.read()
            guard result.failure == nil else { throw ProcessError(description: "\(result)") }
            received += bytes
            let (answer, more) = self.pair.server.read()
            guard answer.failure == nil else { throw ProcessError(description: "\(answer)") }
            read += more.count
            try writeMore()
        }
        #expect(received == data && rest.isEmpty)
    }
}
