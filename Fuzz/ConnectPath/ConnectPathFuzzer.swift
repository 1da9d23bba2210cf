import Common
import FuzzSupport

@testable import Listener
@testable import Router

// What a client sends, all the way: CONNECT, the splitting into packets and frames, and what the router makes of them. However
// the bytes come in pieces, the same must go up. Run it with `make fuzz`.

@main struct ConnectPathFuzzer {
    static func main() { runFuzzer(fuzzConnectPath) }
}

private func fuzzConnectPath(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(start, count)
    let pieceBytes = 1 + Int(input.byte()) % 32
    let limits = input.byte()
    let stream = input.rest()
    guard case .connect(let connect, let connectBytes) = ConnectReader.read(stream) else {
        checkPrefixes(stream)
        return 0
    }
    precondition(connectBytes <= stream.count, "a CONNECT longer than what came")
    let packets = UnsafeRawBufferPointer(rebasing: stream[connectBytes...])
    let maximumPacketBytes = limits & 1 == 0 ? 1 << 20 : 64
    let whole = forward(
        packets,
        connect.version,
        pieceBytes: max(1, packets.count),
        maximumPacketBytes: maximumPacketBytes
    )
    let inPieces = forward(packets, connect.version, pieceBytes: pieceBytes, maximumPacketBytes: maximumPacketBytes)
    precondition(whole.sent == inPieces.sent, "other bytes go up when they come in pieces")
    precondition(whole.replies == inPieces.replies, "other answers when they come in pieces")
    precondition(whole.end == inPieces.end, "another end when they come in pieces")
    route(connect, whole.sent)
    return 0
}

/// A CONNECT that is not whole is waited for or refused, and once refused never accepted.
private func checkPrefixes(_ stream: UnsafeRawBufferPointer) {
    var isRefused = false
    for count in 0...min(stream.count, 64) {
        switch ConnectReader.read(UnsafeRawBufferPointer(rebasing: stream[..<count])) {
        case .needMore: precondition(!isRefused, "waits for more of what was refused")
        case .connect: preconditionFailure("a beginning is accepted, and the whole is not")
        case .refuse: isRefused = true
        }
    }
}

private struct Forwarded {
    /// All packets of all frames.
    var sent: [UInt8] = []
    var replies: [UInt8] = []
    var end: SessionUplink.End?
}

private func forward(
    _ bytes: UnsafeRawBufferPointer,
    _ version: ProtocolVersion,
    pieceBytes: Int,
    maximumPacketBytes: Int
) -> Forwarded {
    var result = Forwarded()
    var uplink = SessionUplink(version: version, credit: 1 << 30, maximumPacketBytes: maximumPacketBytes)
    var linkCredit = 1 << 30
    var link = ByteBuffer()
    var replies = ByteBuffer()
    var kept: [UInt8] = []
    var offset = 0
    while offset < bytes.count, result.end == nil {
        kept += bytes[offset..<min(bytes.count, offset + pieceBytes)]
        offset += pieceBytes
        let progress = kept.withUnsafeBytes {
            uplink.forward($0, handle: 1, linkCredit: &linkCredit, link: &link, replies: &replies)
        }
        precondition(progress.consumed <= kept.count, "more consumed than came")
        precondition(!progress.isBlocked, "blocked with credit left")
        kept.removeFirst(progress.consumed)
        // A packet over 64 KiB is not collected, so what is kept is less than that.
        precondition(result.end != nil || kept.count <= Limits.packetPartBytes + pieceBytes, "kept without bound")
        result.end = progress.end
    }
    var position = 0
    while case .frame(let frame) = FrameReader.frame(in: link.readable, at: position) {
        precondition(frame.kind == .sessionPackets && frame.handle == 1, "a frame nobody asked for")
        result.sent += frame.body
        position += FrameHeader.byteCount + frame.header.bodyBytes
    }
    precondition(position == link.readableBytes, "a broken frame")
    result.replies = replies.array
    return result
}

/// The router takes everything that a listener lets through.
private func route(_ connect: ConnectPacket, _ packets: [UInt8]) {
    var core = RouterCore(configuration: Configuration(), seed: 1)
    let hello = LinkHello(
        role: .listener,
        bootID: [UInt8](repeating: 1, count: 16),
        name: [],
        sessionCreditBytes: 1 << 18,
        linkCreditBytes: 1 << 26
    )
    let link = core.linkUp(peer: hello, now: 1)
    var packet = ByteBuffer()
    connect.encode(into: &packet)
    let open = SessionOpen(
        connectStamp: 1,
        listenerName: [],
        peerAddress: [],
        identity: nil,
        userName: connect.userName,
        access: .allowEverything,
        connect: packet.array
    )
    var frames = ByteBuffer()
    open.encode(into: &frames, handle: 1 << 32)
    frames.writeFrameHeader(.sessionPackets, handle: 1 << 32, bodyBytes: packets.count)
    frames.write(packets)
    var position = 0
    while case .frame(let frame) = FrameReader.frame(in: frames.readable, at: position) {
        let problem = core.received(frame, on: link, now: 2)
        precondition(problem == nil, "the router closes a link for what a client sent")
        position += FrameHeader.byteCount + frame.header.bodyBytes
    }
    core.endTurn(now: 3)
    core.linkDown(link, now: 4)
    precondition(core.connectedCount == 0, "a connection is left over")
}
