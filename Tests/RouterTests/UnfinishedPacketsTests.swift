import Common
import Testing

@testable import Router

/// When a packet that could be stored is kept instead.
@Suite struct UnfinishedPacketsTests {
    private func message(_ bytes: Int) -> Message {
        [UInt8](repeating: 1, count: bytes).withUnsafeBytes { Message.make(payload: $0) }
    }

    private func begin(_ packets: inout UnfinishedPackets, _ session: UInt64, _ message: Message) {
        let begins = packets.begin(session, message)
        #expect(begins)
    }

    @Test func leavesRoomForThoseThatCannotBeStored() {
        var packets = UnfinishedPackets()
        let large = self.message(RouterLimits.unfinishedInsteadOfStoredBytesMax)
        let small = self.message(1)
        #expect(packets.mayBegin(1, large, now: 0))
        self.begin(&packets, 1, large)
        #expect(!packets.mayBegin(2, small, now: 0))
        // Its bytes are there.
        #expect(packets.mayBegin(2, large, now: 0))
        self.begin(&packets, 2, large)
        packets.drop(1)
        #expect(!packets.mayBegin(3, small, now: 0))
        // Another one in its place.
        self.begin(&packets, 2, small)
        #expect(packets.mayBegin(3, small, now: 0))
        #expect(!packets.mayBegin(3, large, now: 0))
        packets.drop(2)
        #expect(packets.mayBegin(3, large, now: 0))
    }

    @Test func nothingIsKeptInsteadForAWhileAfterAFailure() {
        var packets = UnfinishedPackets()
        let message = self.message(100)
        packets.failed(now: 5)
        #expect(!packets.mayBegin(1, message, now: 4 + RouterLimits.unfinishedAvoidedNanoseconds))
        #expect(packets.mayBegin(1, message, now: 5 + RouterLimits.unfinishedAvoidedNanoseconds))
    }

    @Test func waitsUntilTheOneBeforeHasLeft() throws {
        var packets = UnfinishedPackets()
        let message = self.message(100)
        self.begin(&packets, 1, message)
        let written = packets.wrote(1)
        #expect(!packets.mayBegin(1, message, now: 0))
        packets.finish(try #require(written))
        #expect(packets.mayBegin(1, message, now: 0))
    }
}
