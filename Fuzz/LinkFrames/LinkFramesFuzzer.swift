import Common
import FuzzSupport

// Feeds arbitrary bytes to the splitter of frames and to every decoder of a frame's body. What decodes is written and read
// again, and must be the same. Run it with `make fuzz`.

@main struct LinkFramesFuzzer {
    static func main() { runFuzzer(fuzzLinkFrames) }
}

private func fuzzLinkFrames(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    var offset = 0
    splitting: while true {
        switch FrameReader.frame(in: bytes, at: offset) {
        case .needMore, .invalid:
            break splitting
        case .frame(let frame):
            precondition(frame.body.count == frame.header.bodyBytes, "a body of another length than its header says")
            offset += FrameHeader.byteCount + frame.header.bodyBytes
            precondition(offset <= count, "a frame beyond the end")
            checkBody(frame.body)
        }
    }
    // The input as a body, so that the fuzzer need not guess lengths.
    checkBody(bytes)
    return 0
}

private func checkBody(_ body: UnsafeRawBufferPointer) {
    let header = FrameHeader(bodyBytes: body.count, kind: FrameKind.linkHello.rawValue, flags: 0, handle: 7)
    if let hello = LinkHello.decode(Frame(header: header, body: body)) {
        var written = ByteBuffer()
        hello.encode(into: &written)
        precondition(decodeFrame(written, LinkHello.decode) == hello, "a hello changes on its way")
    }
    if let open = SessionOpen.decode(body) {
        var written = ByteBuffer()
        open.encode(into: &written, handle: 7)
        precondition(decodeFrame(written) { SessionOpen.decode($0.body) } == open, "sessionOpen changes on its way")
    }
    if let query = AuthQuery.decode(body) {
        var written = ByteBuffer()
        query.encode(into: &written, request: 7)
        precondition(decodeFrame(written) { AuthQuery.decode($0.body) } == query, "authQuery changes on its way")
    }
    if let verdict = AuthVerdict.decode(body) {
        var written = ByteBuffer()
        verdict.encode(into: &written, request: 7)
        precondition(decodeFrame(written) { AuthVerdict.decode($0.body) } == verdict, "authVerdict changes on its way")
    }
    checkLists(body)
    _ = SessionAccepted.decode(body)
    _ = SessionResumed.decode(body)
    _ = SessionEnd.decode(body)
    _ = StatusReport.decode(body)
}

private func checkLists(_ body: UnsafeRawBufferPointer) {
    if let multicast = MulticastFrame(body) {
        precondition(
            MulticastFrame.prefixBytes + multicast.count * MulticastFrame.entryBytes + multicast.packet.count
                == body.count,
            "a multicast of another length than its parts"
        )
        precondition(
            multicast.packetIdentifierOffset == 0 || multicast.packetIdentifierOffset + 2 <= multicast.packet.count,
            "a packet id beyond the packet"
        )
        for index in 0..<multicast.count {
            _ = multicast.handle(at: index)
            _ = multicast.packetIdentifier(at: index)
        }
    }
    if let credit = CreditFrame(body) {
        for index in 0..<credit.count {
            _ = credit.handle(at: index)
            _ = credit.bytes(at: index)
        }
    }
}

private func decodeFrame<Body>(_ buffer: borrowing ByteBuffer, _ decode: (Frame) -> Body?) -> Body? {
    guard case .frame(let frame) = FrameReader.frame(in: buffer.readable, at: 0) else {
        // A body that is larger when written anew than it may be read.
        preconditionFailure("a written frame cannot be read")
    }
    return decode(frame)
}
