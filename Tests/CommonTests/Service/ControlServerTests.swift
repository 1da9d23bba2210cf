import Common
import Glibc
import TestSupport
import Testing

@Suite struct ControlServerTests {
    private func makeServer(_ loop: EventLoop, _ path: String) throws -> ControlServer {
        try ControlServer(loop: loop, path: path, hello: makeHello(.router), refused: { _ in }) {
            var report = StatusReport()
            report.add("sessions", 3)
            return report
        }
    }

    private func makeTool(_ loop: EventLoop, _ path: String, _ delegate: RecordingDelegate) throws -> Link {
        try Link(
            loop: loop,
            fileDescriptor: try UnixSocket.connect(path: path),
            peerDescription: path,
            hello: makeHello(.tool),
            expectedRoles: [.router],
            delegate: delegate
        )
    }

    @Test("The tool asks for the status and gets it, each time")
    func status() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("router-1.sock")
        let loop = try EventLoop()
        let server = try self.makeServer(loop, path)
        let delegate = RecordingDelegate()
        let tool = try self.makeTool(loop, path, delegate)
        for round in 1...2 {
            tool.output.write(WireSamples.bytes { $0.writeFrameHeader(.statusRequest, handle: 0, bodyBytes: 0) })
            tool.flush()
            #expect(try loop.turn { delegate.frames.count == round })
        }
        for frame in delegate.frames {
            let report = frame.body.withUnsafeBytes { StatusReport.decode($0) }
            #expect(report.lines.map(\.name) == ["sessions"])
            #expect(report.lines.map(\.value) == ["3"])
        }
        tool.close()
        server.close()
        #expect(access(path, F_OK) != 0)
    }

    @Test("Another role is turned away, and so is the seventeenth tool; one that leaves makes room")
    func limits() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("router-1.sock")
        let loop = try EventLoop()
        let server = try self.makeServer(loop, path)
        let stranger = RecordingDelegate()
        let strangerLink = try Link(
            loop: loop,
            fileDescriptor: try UnixSocket.connect(path: path),
            peerDescription: path,
            hello: makeHello(.listener),
            expectedRoles: [.router],
            delegate: stranger
        )
        #expect(try loop.turn { !stranger.downReasons.isEmpty })
        #expect(!strangerLink.isOpen)
        let tools = try (0..<16).map { _ in
            let delegate = RecordingDelegate()
            return (link: try self.makeTool(loop, path, delegate), delegate: delegate)
        }
        #expect(try loop.turn { tools.allSatisfy { !$0.delegate.peers.isEmpty } })
        let tooMany = RecordingDelegate()
        let tooManyLink = try self.makeTool(loop, path, tooMany)
        #expect(try loop.turn { !tooMany.downReasons.isEmpty })
        #expect(!tooManyLink.isOpen)
        tools[0].link.close()
        try loop.turnUntilQuiet()
        let late = RecordingDelegate()
        let lateLink = try self.makeTool(loop, path, late)
        lateLink.output.write(WireSamples.bytes { $0.writeFrameHeader(.statusRequest, handle: 0, bodyBytes: 0) })
        lateLink.flush()
        #expect(try loop.turn { late.frames.count == 1 })
        for tool in tools { tool.link.close() }
        lateLink.close()
        server.close()
    }
}
