import Common
import TestSupport
import Testing

/// `ByteBuffer` and `ByteReader` against the obvious: an array of bytes.
@Suite struct ByteBufferTests {
    /// One random operation on both; true when the content may have moved.
    private func mutate(_ buffer: inout ByteBuffer, _ model: inout [UInt8], _ random: inout SeededRandom) {
        switch Int.random(in: 0..<13, using: &random) {
        case 0:
            let byte = UInt8.random(in: 0...255, using: &random)
            buffer.write(byte)
            model.append(byte)
        case 1, 2:
            let bytes = random.bytes(Int.random(in: 0...700, using: &random))
            buffer.write(bytes)
            model += bytes
        case 3:
            let bytes = random.bytes(Int.random(in: 0...40, using: &random))
            buffer.write(bytes[(bytes.count / 3)...])
            model += bytes[(bytes.count / 3)...]
        case 4:
            let value = UInt32.random(in: 0...UInt32.max, using: &random)
            buffer.writeBigEndian(value)
            model += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
        case 5:
            let value = UInt64.random(in: 0...UInt64.max, using: &random)
            buffer.writeLittleEndian(value)
            model += (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
        case 6, 7, 8:
            let count = Int.random(in: 0...model.count, using: &random)
            buffer.consume(count)
            model.removeFirst(count)
        case 9:
            let count = Int.random(in: 0...min(20, model.count), using: &random)
            buffer.removeLast(count)
            model.removeLast(count)
        case 10:
            let bytes = random.bytes(Int.random(in: 0...300, using: &random))
            let space = buffer.writable(minimum: bytes.count)
            space.copyBytes(from: bytes)
            buffer.commit(bytes.count)
            model += bytes
        case 11 where model.count >= 2:
            let offset = Int.random(in: 0...model.count - 2, using: &random)
            let value = UInt16.random(in: 0...UInt16.max, using: &random)
            buffer.setBigEndian(value, at: offset)
            model[offset] = UInt8(value >> 8)
            model[offset + 1] = UInt8(value & 0xFF)
        case 11:
            buffer.clear()
            model.removeAll()
        default:
            buffer.reserve(Int.random(in: 0...2000, using: &random))
            buffer.releaseIfEmpty()
        }
    }

    @Test("Random operations: the buffer holds what an array would hold")
    func model() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        for _ in 0..<40 {
            var buffer = ByteBuffer()
            var model: [UInt8] = []
            for step in 0..<250 {
                self.mutate(&buffer, &model, &random)
                let isSame = buffer.array == model && buffer.readableBytes == model.count
                let isEmpty = buffer.isEmpty
                guard isSame, isEmpty == model.isEmpty else {
                    Issue.record("buffer and model differ after step \(step), seed \(seed)")
                    return
                }
            }
        }
    }

    @Test("An empty buffer gives its memory back, a full one keeps it")
    func release() {
        var buffer = ByteBuffer()
        var capacities = [buffer.capacity]
        buffer.write([1, 2, 3])
        buffer.releaseIfEmpty()
        let kept = buffer.array
        #expect(kept == [1, 2, 3])
        buffer.consume(3)
        buffer.releaseIfEmpty()
        capacities.append(buffer.capacity)
        #expect(capacities == [0, 0])
        buffer.write([4])
        let written = buffer.array
        #expect(written == [4])
    }

    @Test("Consumed space is used again: a queue that is drained as it fills does not grow")
    func reuse() {
        var buffer = ByteBuffer()
        for _ in 0..<10_000 {
            buffer.write([UInt8](repeating: 7, count: 100))
            if buffer.readableBytes > 300 { buffer.consume(200) }
        }
        let capacity = buffer.capacity
        #expect(capacity <= 1024)
    }

    @Test("wipe leaves no byte of a password behind")
    func wipe() {
        var buffer = ByteBuffer()
        buffer.write(Array("secret".utf8))
        buffer.consume(2)
        buffer.wipe()
        let readable = buffer.readableBytes
        #expect(readable == 0)
        let remains = Array(UnsafeRawBufferPointer(buffer.writable(minimum: 6)).prefix(6))
        #expect(remains == [0, 0, 0, 0, 0, 0])
    }

    @Test("A reader gives the bytes in order and nil at the end, whatever is asked")
    func readerBounds() {
        let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7]
        bytes.withUnsafeBytes { memory in
            var reader = ByteReader(memory)
            #expect(reader.readBigEndian(UInt16.self) == 0x0102)
            #expect(reader.readLittleEndian(UInt16.self) == 0x0403)
            #expect(reader.readLittleEndian(UInt32.self) == nil)
            #expect(reader.readBytes(4) == nil)
            #expect(reader.readBytes(-1) == nil)
            #expect(reader.readBytes(Int.max) == nil)
            #expect(reader.remaining == 3)
            #expect(reader.readUInt8() == 5)
            #expect(reader.readBytes(0).map { [UInt8]($0) } == [])
            #expect([UInt8](reader.readRest()) == [6, 7])
            #expect(reader.isAtEnd)
            #expect(reader.readUInt8() == nil)
            #expect([UInt8](reader.readRest()) == [])
        }
        var empty = ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(empty.readUInt8() == nil)
        #expect(empty.readBytes(0)?.count == 0)
        #expect(empty.readRest().isEmpty)
        #expect(empty.isAtEnd)
    }
}
