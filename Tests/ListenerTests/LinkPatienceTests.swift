import Common
import Testing

@testable import Listener

@Suite struct LinkPatienceTests {
    @Test("Acknowledgements wait for five milliseconds, or for anything else")
    func acknowledgements() {
        var patience = LinkPatience()
        #expect(patience.covers(0, now: 0) && !patience.covers(1, now: 0))
        patience.add(20, acknowledgements: 1, now: 1_000_000)
        patience.add(20, acknowledgements: 1, now: 3_000_000)
        #expect(patience.deadline == 6_000_000 && patience.acknowledgements == 2)
        #expect(patience.covers(40, now: 5_999_999))
        #expect(!patience.covers(41, now: 5_999_999))
        #expect(!patience.covers(40, now: 6_000_000))
        patience.end()
        #expect(patience.covers(0, now: 6_000_000) && patience.deadline == nil)
    }

    @Test("Credit alone waits longer; acknowledgements that come do not wait for it")
    func credit() {
        var patience = LinkPatience()
        patience.hasCredit(now: 0)
        patience.hasCredit(now: 10)
        #expect(patience.deadline == 50_000_000)
        patience.add(20, acknowledgements: 1, now: 1_000_000)
        #expect(patience.deadline == 6_000_000)
    }

    @Test("A client whose window is small, or nearly used up, has its acknowledgements passed on at once")
    func windows() {
        func uplink(_ quota: Int, inFlight: Int) -> SessionUplink {
            let attach = AttachState(sessionNumber: 1, clientIdentifier: [1], version: .v5_0, takesAliases: false)
            for identifier in 0..<inFlight { attach.passedDown(firstByte: 0x32, identifier: UInt16(identifier + 1)) }
            return SessionUplink(
                version: .v5_0,
                credit: 1000,
                maximumPacketBytes: 1000,
                attach: attach,
                sendQuota: quota
            )
        }
        #expect(!uplink(1, inFlight: 0).canSpareAcknowledgements(1))
        #expect(!uplink(2, inFlight: 0).canSpareAcknowledgements(1))
        #expect(uplink(3, inFlight: 0).canSpareAcknowledgements(1))
        #expect(uplink(100, inFlight: 48).canSpareAcknowledgements(1))
        #expect(!uplink(100, inFlight: 49).canSpareAcknowledgements(1))
        #expect(!uplink(100, inFlight: 10).canSpareAcknowledgements(40))
        #expect(
            !SessionUplink(version: .v5_0, credit: 1, maximumPacketBytes: 1, sendQuota: 99).canSpareAcknowledgements(1)
        )
    }
}
