import Common
import FuzzSupport

// Feeds arbitrary bytes to everything that reads packets of a peer, in all versions. What turns out to be a packet is written
// and read again, and must be the same. Run it with `make fuzz`.

@main struct PacketDecoderFuzzer {
    static func main() { runFuzzer(fuzzPacketDecoder) }
}

/// Called by libFuzzer for each input; bytes that break a promise end the process by a trap.
private func fuzzPacketDecoder(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    for version in ProtocolVersion.allCases {
        if case .header(let header) = FixedHeader.decode(bytes, version: version) {
            precondition(header.headerBytes >= 2 && header.headerBytes <= 5, "fixed header has two to five bytes")
            // The first packet of what was received, if it is whole.
            if header.packetBytes <= count {
                checkPacket(UnsafeRawBufferPointer(rebasing: bytes[..<header.packetBytes]), header, version)
            }
        }
        // The first byte with all the others as its body, so that the fuzzer need not guess lengths.
        guard count >= 1 else { continue }
        var packet = ByteBuffer()
        packet.write(bytes[0])
        packet.writeVariableByteInteger(count - 1)
        packet.write(UnsafeRawBufferPointer(rebasing: bytes[1...]))
        if case .header(let header) = FixedHeader.decode(packet.readable, version: version) {
            checkPacket(packet.readable, header, version)
        }
    }
    checkFilters(bytes)
    return 0
}

private func checkPacket(_ bytes: UnsafeRawBufferPointer, _ header: FixedHeader, _ version: ProtocolVersion) {
    let packet = try? Packet.decode(bytes, header: header, version: version)
    if header.type == .publish { checkPublishView(bytes, header, version, packet) }
    guard let packet else { return }
    var written = ByteBuffer()
    packet.encode(into: &written, version: version)
    guard case .header(let secondHeader) = FixedHeader.decode(written.readable, version: version) else {
        preconditionFailure("a written packet has no fixed header")
    }
    let second = try? Packet.decode(written.readable, header: secondHeader, version: version)
    precondition(second == packet, "a packet changes when it is written and read again")
}

/// The two readers of PUBLISH agree; only subscription identifiers are refused by one and not the other.
private func checkPublishView(
    _ bytes: UnsafeRawBufferPointer,
    _ header: FixedHeader,
    _ version: ProtocolVersion,
    _ packet: Packet?
) {
    let view = try? PublishView.decode(bytes, header: header, version: version)
    guard case .publish(let publish)? = packet, publish.properties.subscriptionIdentifiers.isEmpty else {
        precondition(view == nil, "only PublishView accepts this PUBLISH")
        return
    }
    guard let view else { preconditionFailure("only PublishPacket accepts this PUBLISH") }
    precondition([UInt8](bytes[view.topic]) == publish.topic, "topics differ")
    precondition([UInt8](bytes[view.payload]) == publish.payload, "payloads differ")
    precondition(view.packetIdentifier == publish.packetIdentifier, "packet identifiers differ")
    let forwarded = view.forwardedProperties(of: bytes)
    precondition(forwarded.count <= view.properties.count, "more properties passed on than received")
}

/// The input as a topic and as two filters.
private func checkFilters(_ bytes: UnsafeRawBufferPointer) {
    let half = bytes.count / 2
    let left = UnsafeRawBufferPointer(rebasing: bytes[..<half])
    let right = UnsafeRawBufferPointer(rebasing: bytes[half...])
    let covers = TopicFilter.covers(left, right)
    let matches = TopicFilter.matches(filter: left, topic: right)
    if TopicFilter.parse(left) == .plain, TopicName.isValid(right) {
        precondition(covers == matches, "a topic is a filter that matches just itself")
    }
    if TopicFilter.parse(bytes) == .plain {
        precondition(TopicFilter.covers(bytes, bytes), "a filter covers itself")
    }
}
