import Common
import Testing

@Suite struct LinkHelloTests {
    private func decode(_ bytes: [UInt8]) -> LinkHello? {
        bytes.withUnsafeBytes {
            guard case .frame(let frame) = FrameReader.frame(in: $0, at: 0) else { return nil }
            return LinkHello.decode(frame)
        }
    }

    private func hello(_ versions: ClosedRange<UInt8>) -> LinkHello {
        LinkHello(
            role: .router,
            bootID: [UInt8](repeating: 1, count: 16),
            name: [],
            wireVersionMin: versions.lowerBound,
            wireVersionMax: versions.upperBound
        )
    }

    @Test("A hello is read as it was written")
    func roundTrip() {
        let bytes = WireSamples.bytes { WireSamples.hello.encode(into: &$0) }
        #expect(self.decode(bytes) == WireSamples.hello)
    }

    @Test("The highest version that both speak is used; a release speaks N and N-1")
    func negotiation() {
        #expect(self.hello(1...1).commonVersion(with: self.hello(1...1)) == 1)
        #expect(self.hello(1...2).commonVersion(with: self.hello(2...3)) == 2)
        #expect(self.hello(2...3).commonVersion(with: self.hello(1...2)) == 2)
        #expect(self.hello(2...3).commonVersion(with: self.hello(2...3)) == 3)
        #expect(self.hello(1...2).commonVersion(with: self.hello(3...4)) == nil)
        #expect(self.hello(3...4).commonVersion(with: self.hello(1...2)) == nil)
        #expect(LinkHello.wireVersionMax - LinkHello.wireVersionMin <= 1)
        #expect(LinkHello.wireVersionMin >= 1)
    }

    @Test("Fields that a later version appends do not make a hello unreadable")
    func laterFields() {
        var bytes = WireSamples.bytes { WireSamples.hello.encode(into: &$0) }
        bytes += [1, 2, 3, 4]
        bytes[0] += 4
        #expect(self.decode(bytes) == WireSamples.hello)
    }

    @Test("Another first frame, another magic number, an unknown role: no hello")
    func refused() {
        let bytes = WireSamples.bytes { WireSamples.hello.encode(into: &$0) }
        for (index, value) in [(4, FrameKind.statusRequest.rawValue), (16, 0), (19, 0), (20, 0), (20, 5)] {
            var broken = bytes
            broken[index] = value
            #expect(self.decode(broken) == nil, "byte \(index) is \(value)")
        }
        for bodyBytes in 0..<bytes.count - FrameHeader.byteCount {
            var broken = Array(bytes.prefix(FrameHeader.byteCount + bodyBytes))
            broken[0] = UInt8(bodyBytes)
            #expect(self.decode(broken) == nil, "cut off after \(bodyBytes) bytes")
        }
    }
}
