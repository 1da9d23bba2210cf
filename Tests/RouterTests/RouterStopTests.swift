import Common
import Glibc
import Logging
import TestSupport
import Testing

@testable import Router

/// A router that is told to stop, with its sockets.
@Suite struct RouterStopTests {
    private let directory: TemporaryDirectory

    init() throws {
        self.directory = try TemporaryDirectory()
    }

    private func kinds(_ bytes: [UInt8]) -> [FrameKind] {
        bytes.withUnsafeBytes { bytes in
            var kinds: [FrameKind] = []
            var offset = 0
            while case .frame(let frame) = FrameReader.frame(in: bytes, at: offset) {
                offset += FrameHeader.byteCount + frame.header.bodyBytes
                if let kind = frame.kind { kinds.append(kind) }
            }
            return kinds
        }
    }

    /// It was closed. The listener, which had the router's hello, had sent its clients' acknowledgements behind its own: they were lost, and
    /// the next router sent the messages again.
    @Test func aListenerWhoseHelloHasNotComeIsHeardBeforeTheEnd() throws {
        var configuration = Configuration()
        configuration.stateDirectory = self.directory.file("state")
        configuration.runtimeDirectory = self.directory.path
        configuration.mqtt.sysIntervalNanoseconds = 0
        let loop = try EventLoop()
        defer { loop.tearDown() }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let router = RouterService(
            RoleContext(loop: loop, logger: logger, configuration: configuration, name: "router")
        )
        try router.start()
        let listener = try UnixSocket.connect(path: configuration.routerSocketPath)
        defer { close(listener) }
        var came: [UInt8] = []
        func has(_ kind: FrameKind) -> Bool {
            came += receiveNow(listener) ?? []
            return self.kinds(came).contains(kind)
        }
        #expect(try loop.turn { has(.linkHello) })
        router.stop()
        var frames = ByteBuffer()
        let hello = LinkHello(
            role: .listener,
            bootID: RoleProcess.makeBootID(),
            name: Array("listener-1".utf8),
            sessionCreditBytes: 1 << 16,
            linkCreditBytes: 1 << 20
        )
        hello.encode(into: &frames)
        SessionCloseCause.connectionLost.encode(into: &frames, handle: 1)
        sendNow(listener, frames.array)
        #expect(try loop.turn { has(.linkClosing) }, "it is told to send what it has")
        #expect(try loop.turn { has(.sessionGone) }, "what it sent is handled, and stored")
        #expect(!loop.isStopped)
        frames.clear()
        frames.writeFrameHeader(.linkDrained, handle: 0, bodyBytes: 0)
        sendNow(listener, frames.array)
        #expect(try loop.turn { loop.isStopped })
        router.stopAtOnce()
    }
}
