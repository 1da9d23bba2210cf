import Glibc
import TLS
import TestSupport

/// Both ends of a TLS connection over a non-blocking socket pair, driven in turn by one thread.
final class TLSPair {
    let server: TLSConnection
    let client: TLSConnection
    private(set) var serverDescriptor: Int32
    private(set) var clientDescriptor: Int32

    struct Failure: Error {}

    init(_ server: TLSServerContext, _ client: TLSClientContext) throws {
        (self.serverDescriptor, self.clientDescriptor) = try makeSocketPair()
        guard let server = server.makeConnection(fileDescriptor: self.serverDescriptor),
            let client = client.makeConnection(fileDescriptor: self.clientDescriptor)
        else { throw Failure() }
        self.server = server
        self.client = client
    }

    convenience init(_ server: TLSServerConfiguration, _ client: TLSClientConfiguration) throws {
        try self.init(TLSServerContext(server), TLSClientContext(client))
    }

    deinit {
        self.closeServer()
        self.closeClient()
    }

    func closeServer() {
        if self.serverDescriptor >= 0 { close(self.serverDescriptor) }
        self.serverDescriptor = -1
    }

    func closeClient() {
        if self.clientDescriptor >= 0 { close(self.clientDescriptor) }
        self.clientDescriptor = -1
    }

    /// Drives both sides until each is done or has failed, or neither gets on.
    func handshake() -> (server: TLSConnection.HandshakeResult, client: TLSConnection.HandshakeResult) {
        var server = TLSConnection.HandshakeResult.wantsRead
        var client = TLSConnection.HandshakeResult.wantsRead
        for _ in 0..<20 {
            if !client.isFinal { client = self.client.handshake() }
            if !server.isFinal { server = self.server.handshake() }
            if client.isFinal, server.isFinal { break }
        }
        return (server, client)
    }

    /// As `handshake`, but fails unless both are done.
    func connect() throws {
        guard self.handshake() == (.done, .done) else { throw Failure() }
    }
}

extension TLSConnection {
    /// One read of at most `count` bytes.
    func read(upTo count: Int = 65536) -> (result: IOResult, bytes: [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: count)
        let result = buffer.withUnsafeMutableBytes { self.read(into: $0) }
        guard case .bytes(let filled) = result else { return (result, []) }
        return (result, Array(buffer[..<filled]))
    }

    func write(_ bytes: [UInt8]) -> IOResult {
        bytes.withUnsafeBytes { self.write($0) }
    }
}

extension TLSConnection.HandshakeResult {
    var isFinal: Bool {
        switch self {
        case .done, .failed: true
        case .wantsRead, .wantsWrite: false
        }
    }

    var failure: TLSFailure? {
        if case .failed(let failure) = self { failure } else { nil }
    }
}

extension TLSConnection.IOResult {
    var failure: TLSFailure? {
        if case .failed(let failure) = self { failure } else { nil }
    }
}

func makeSocketPair() throws -> (Int32, Int32) {
    var descriptors: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    guard socketpair(AF_UNIX, type, 0, &descriptors) == 0 else { throw TLSPair.Failure() }
    return (descriptors[0], descriptors[1])
}
