import Common
import TestSupport
import Testing

@testable import RouterStore

/// Records as they are written and read again: in the short form where they fit, in the long one otherwise.
@Suite struct ChangeWriterTests {
    private struct Change: Equatable {
        var operation: ChangeReader.Operation
        var key: [UInt8]
        var value: [UInt8]
    }

    private static func read(_ bytes: some Sequence<UInt8>) -> (changes: [Change], isBroken: Bool) {
        Array(bytes).withUnsafeBytes { bytes in
            var reader = ChangeReader(bytes)
            var changes: [Change] = []
            while let record = reader.next() {
                changes.append(
                    Change(operation: record.operation, key: [UInt8](record.key), value: [UInt8](record.value))
                )
            }
            return (changes, reader.isBroken)
        }
    }

    private static func encoded(_ encode: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        encode(&buffer)
        return buffer.array
    }

    /// Keys as they stand in the file, written out by hand.
    @Test func keysAreAsTheFileHasThem() {
        let session: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        let number = session.reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        let keys: [(ShortKey, [UInt8])] = [
            (.message(number), [UInt8(ascii: "m")] + session),
            (.session(number), [UInt8(ascii: "s")] + session),
            (.subscription(number, 0x0A0B_0C0D), [UInt8(ascii: "u")] + session + [10, 11, 12, 13]),
            (.item(number, 9), [UInt8(ascii: "i")] + session + [0, 0, 0, 0, 0, 0, 0, 9]),
            (.received(number, 0x1234), [UInt8(ascii: "r")] + session + [0x12, 0x34]),
            (.completed(number, .max), [UInt8(ascii: "c")] + session + [UInt8](repeating: 255, count: 8)),
        ]
        for (key, bytes) in keys {
            #expect(Self.encoded { key.write(into: &$0) } == bytes)
            #expect(key.bytes == bytes)
            #expect(bytes.withUnsafeBytes { ShortKey($0) } == key)
        }
    }

    @Test func recordsAreReadAsTheyWereWrittenAndBrokenOnesNoticed() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var buffer = ByteBuffer()
        var expected: [Change] = []
        var ends: [Int] = []
        for _ in 0..<60 {
            let session = UInt64.random(in: 0 ... .max, using: &random)
            let number = UInt64.random(in: 0 ... .max, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0:
                var item = StoredItem()
                (item.message, item.sequence) = (number, session)
                let further = (0..<Int.random(in: 0...3, using: &random)).map(UInt32.init)
                item.furtherIdentifiers = further.isEmpty ? nil : further
                ChangeWriter.write(.put, .item(session, number), item, to: &buffer)
                let value = Self.encoded { item.encode(into: &$0) }
                expected.append(Change(operation: .put, key: ShortKey.item(session, number).bytes, value: value))
            case 1:
                ChangeWriter.write(.insert, .received(session, 7), number, to: &buffer)
                let value = Self.encoded { $0.writeLittleEndian(number) }
                expected.append(Change(operation: .insert, key: ShortKey.received(session, 7).bytes, value: value))
            case 2:
                ChangeWriter.writeDelete(.message(number), to: &buffer)
                expected.append(Change(operation: .delete, key: ShortKey.message(number).bytes, value: []))
            case 3:
                let value = [UInt8](repeating: 7, count: Int.random(in: 0...300, using: &random))
                let key = [UInt8](repeating: 8, count: Int.random(in: 1...100, using: &random))
                ChangeWriter.write(.put, key: { $0.write(key) }, value: { $0.write(value) }, to: &buffer)
                expected.append(Change(operation: .put, key: key, value: value))
            default:
                ChangeWriter.writeDelete(.completed(session, number), to: &buffer)
                expected.append(Change(operation: .delete, key: ShortKey.completed(session, number).bytes, value: []))
            }
            ends.append(buffer.readableBytes)
        }
        let bytes = buffer.array
        for length in 0...bytes.count {
            let (changes, isBroken) = Self.read(bytes[..<length])
            #expect(changes == Array(expected.prefix(ends.count { $0 <= length })), "seed \(seed), \(length) bytes")
            #expect(isBroken == (length > 0 && !ends.contains(length)), "seed \(seed), \(length) bytes")
        }
    }

    /// The short form has two bytes for the value's length.
    @Test(arguments: [0, 1, 65_000, 65_509, 65_510, 65_511, 65_535, 65_536, 70_000, 1 << 20])
    func aMessageOfAnyLengthIsReadAsItWasWritten(payloadBytes: Int) throws {
        let payload = [UInt8](repeating: 0x5A, count: payloadBytes)
        let topic = Array("a/b".utf8)
        var buffer = ByteBuffer()
        topic.withUnsafeBytes { topic in
            payload.withUnsafeBytes { payload in
                let message = StoredMessage(
                    topic: topic,
                    properties: UnsafeRawBufferPointer(start: nil, count: 0),
                    payload: payload,
                    expiry: .max,
                    qos: .atLeastOnce,
                    retain: true,
                    exchange: 5
                )
                ChangeWriter.write(.insert, .message(1), message, to: &buffer)
                ChangeWriter.writeDelete(.message(2), to: &buffer)
            }
        }
        let (changes, isBroken) = Self.read(buffer.array)
        try #require(changes.count == 2 && !isBroken)
        #expect(changes[1] == Change(operation: .delete, key: ShortKey.message(2).bytes, value: []))
        changes[0].value.withUnsafeBytes { value in
            let message = StoredMessage(value)
            #expect(message?.payload.elementsEqual(payload) == true && message?.topic.elementsEqual(topic) == true)
            #expect(message?.exchange == 5 && message?.retain == true)
        }
    }

    /// Logs of the release before have the long form only.
    @Test func whatTheReleaseBeforeWroteIsRead() {
        let bytes: [UInt8] = [3, 9, 0, 0, 0, 2, 0, 0, 0] + [UInt8(ascii: "m"), 0, 0, 0, 0, 0, 0, 0, 1] + [0x61, 0x62]
        let (changes, isBroken) = Self.read(bytes)
        #expect(
            changes == [Change(operation: .insert, key: ShortKey.message(1).bytes, value: [0x61, 0x62])] && !isBroken
        )
    }
}
