import Common
import Glibc
import TestSupport
import Testing

@Suite struct LinkTests {
    /// A link at one end of a socket pair; the test holds the other end as a plain descriptor.
    private struct Half {
        let loop: EventLoop
        let link: Link
        let delegate: RecordingDelegate
        let peer: Int32
    }

    private func makeHalf(expecting roles: [LinkHello.Role] = [.router]) throws -> Half {
        let loop = try EventLoop()
        let (near, far) = try makeSocketPair()
        let delegate = RecordingDelegate()
        let link = try Link(
            loop: loop,
            fileDescriptor: near,
            peerDescription: "test",
            hello: makeHello(.listener),
            expectedRoles: roles,
            delegate: delegate
        )
        return Half(loop: loop, link: link, delegate: delegate, peer: far)
    }

    private func frame(_ number: Int, bodyBytes: Int = 1) -> [UInt8] {
        WireSamples.bytes { buffer in
            buffer.writeFrameHeader(.sessionClosed, handle: UInt64(number), bodyBytes: bodyBytes)
            buffer.write([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: bodyBytes))
        }
    }

    private func hello(_ hello: LinkHello) -> [UInt8] { WireSamples.bytes { hello.encode(into: &$0) } }

    @Test("Both ends say hello, then frames go both ways")
    func exchange() throws {
        let loop = try EventLoop()
        let (one, other) = try makeSocketPair()
        let listenerSide = RecordingDelegate()
        let routerSide = RecordingDelegate()
        let up = try Link(
            loop: loop,
            fileDescriptor: one,
            peerDescription: "router",
            hello: makeHello(.listener),
            expectedRoles: [.router],
            delegate: listenerSide
        )
        let down = try Link(
            loop: loop,
            fileDescriptor: other,
            peerDescription: "listener",
            hello: makeHello(.router),
            expectedRoles: [.listener, .tool],
            delegate: routerSide
        )
        #expect(try loop.turn { !listenerSide.peers.isEmpty && !routerSide.peers.isEmpty })
        #expect(listenerSide.peers == [makeHello(.router)])
        #expect(up.peer == makeHello(.router))
        for number in 0..<100 {
            up.output.write(self.frame(number))
            down.output.write(self.frame(1000 + number, bodyBytes: 5000))
            if number % 10 == 0 { up.flush() }
        }
        up.flush()
        down.flush()
        #expect(try loop.turn { routerSide.frames.count == 100 && listenerSide.frames.count == 100 })
        #expect(routerSide.frames.map(\.handle) == (0..<100).map { UInt64($0) })
        #expect(listenerSide.frames.map(\.handle) == (1000..<1100).map { UInt64($0) })
        #expect(listenerSide.frames.allSatisfy { $0.body.count == 5000 })
        down.close()
        #expect(try loop.turn { !listenerSide.downReasons.isEmpty })
        #expect(listenerSide.downReasons == ["closed by the peer"])
        #expect(routerSide.downReasons.isEmpty)
        #expect(!up.isOpen)
    }

    @Test("Wrong peers are told apart in a sentence")
    func wrongPeers() throws {
        let cases: [(bytes: [UInt8], reason: String)] = [
            (self.hello(makeHello(.authWorker)), "the peer has the role authworker, which is not expected here"),
            (
                self.hello(makeHello(.router, versions: 2...3)),
                "the peer speaks wire versions 2 to 3, this program 1 to 1: upgrade one of them"
            ),
            (self.frame(1), "the peer's first frame is no hello"),
            ([UInt8](repeating: 0xFF, count: 16), "frame body above the limit"),
            (Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8), "frame body above the limit"),
        ]
        for (bytes, reason) in cases {
            let half = try self.makeHalf()
            sendNow(half.peer, bytes)
            #expect(try half.loop.turn { !half.delegate.downReasons.isEmpty })
            #expect(half.delegate.downReasons == [reason])
            #expect(half.delegate.peers.isEmpty)
            #expect(!half.link.isOpen)
            close(half.peer)
        }
    }

    @Test("Garbage after the hello ends the link; the frames before it are delivered")
    func garbage() throws {
        let half = try self.makeHalf()
        sendNow(half.peer, self.hello(makeHello(.router)) + self.frame(1) + [UInt8](repeating: 0xEE, count: 64))
        #expect(try half.loop.turn { !half.delegate.downReasons.isEmpty })
        #expect(half.delegate.frames.map(\.handle) == [1])
        #expect(half.delegate.downReasons.count == 1)
        close(half.peer)
    }

    @Test("Frames of a kind from a later release reach the owner without a kind and do no harm")
    func unknownKind() throws {
        let half = try self.makeHalf()
        let unknown: [UInt8] = [2, 0, 0, 0, 0x7E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 9]
        sendNow(half.peer, self.hello(makeHello(.router)) + unknown + self.frame(2))
        #expect(try half.loop.turn { half.delegate.frames.count == 2 })
        #expect(half.delegate.frames.map(\.handle) == [0, 2])
        #expect(half.link.isOpen)
        half.link.close()
        close(half.peer)
    }

    @Test("Frames that come byte by byte arrive whole")
    func dripped() throws {
        let half = try self.makeHalf()
        for byte in self.hello(makeHello(.router)) + self.frame(1, bodyBytes: 40) + self.frame(2) {
            sendNow(half.peer, [byte])
            try half.loop.turn(maximumWaitNanoseconds: 0)
        }
        #expect(try half.loop.turn { half.delegate.frames.count == 2 })
        #expect(half.delegate.frames.map(\.body.count) == [40, 1])
        half.link.close()
        close(half.peer)
    }

    @Test("A slow reader gets every byte in order; what does not fit waits in the output")
    func slowReader() throws {
        let half = try self.makeHalf()
        var expected = self.hello(makeHello(.listener))
        for number in 0..<60 {
            let bytes = self.frame(number, bodyBytes: 100_000)
            half.link.output.write(bytes)
            expected += bytes
        }
        half.link.flush()
        try half.loop.turnUntilQuiet()
        let waiting = half.link.output.readableBytes
        #expect(waiting > 3_000_000)
        var received: [UInt8] = []
        let isComplete = try half.loop.turn {
            received += receiveNow(half.peer, maximum: 150_000) ?? []
            return received.count >= expected.count
        }
        #expect(isComplete)
        #expect(received == expected)
        let left = half.link.output.readableBytes
        #expect(left == 0)
        #expect(half.link.isOpen)
        half.link.close()
        close(half.peer)
    }

    @Test(
        "A peer that is killed leaves nothing behind: what it had sent is delivered before linkDown",
        arguments: [false, true]
    )
    func peerKilled(writesMeanwhile: Bool) throws {
        let half = try self.makeHalf()
        var bytes = self.hello(makeHello(.router))
        for number in 0..<50 { bytes += self.frame(number, bodyBytes: 1000) }
        #expect(sendNow(half.peer, bytes + [1, 2, 3]) == bytes.count + 3)
        // The link's hello lies there unread: the kernel resets the connection rather than ending it.
        close(half.peer)
        if writesMeanwhile {
            half.link.output.write(self.frame(1))
            half.link.flush()
        }
        #expect(try half.loop.turn { !half.delegate.downReasons.isEmpty })
        #expect(half.delegate.frames.count == 50)
        #expect(half.delegate.downReasons.count == 1)
        try half.loop.turnUntilQuiet()
        #expect(half.delegate.downReasons.count == 1)
    }

    @Test("More than one turn's reading from a killed peer is delivered too")
    func peerKilledWithMuchQueued() throws {
        let loop = try EventLoop()
        let (near, far) = try makeSocketPair()
        UnixSocket.setBufferBytes(far, 4 << 20)
        sendNow(far, self.hello(makeHello(.router)))
        var count = 0
        // Whole frames only: a frame that was cut off would be garbage.
        while count < 100 {
            let bytes = self.frame(count, bodyBytes: 30_000)
            guard sendNow(far, bytes) == bytes.count else { break }
            count += 1
        }
        close(far)
        let delegate = RecordingDelegate()
        let link = try Link(
            loop: loop,
            fileDescriptor: near,
            peerDescription: "test",
            hello: makeHello(.listener),
            expectedRoles: [.router],
            delegate: delegate
        )
        #expect(try loop.turn { !delegate.downReasons.isEmpty })
        #expect(delegate.frames.count == count)
        #expect(count > 0)
        #expect(!link.isOpen)
    }

    @Test("An owner that closes the link inside a callback hears no more of it")
    func closeInCallback() throws {
        final class Closing: LinkDelegate {
            var frames = 0
            var downs = 0
            func linkUp(_ link: Link, peer: LinkHello) {}
            func link(_ link: Link, received frame: Frame) {
                self.frames += 1
                link.close()
            }
            func linkFinishedReading(_ link: Link) {}
            func linkDown(_ link: Link, reason: String) { self.downs += 1 }
        }
        let loop = try EventLoop()
        let (near, far) = try makeSocketPair()
        let delegate = Closing()
        let link = try Link(
            loop: loop,
            fileDescriptor: near,
            peerDescription: "test",
            hello: makeHello(.listener),
            expectedRoles: [.router],
            delegate: delegate
        )
        sendNow(far, self.hello(makeHello(.router)) + self.frame(1) + self.frame(2))
        #expect(try loop.turn { delegate.frames > 0 })
        try loop.turnUntilQuiet()
        #expect(delegate.frames == 1)
        #expect(delegate.downs == 0)
        #expect(!link.isOpen)
        close(far)
    }
}
