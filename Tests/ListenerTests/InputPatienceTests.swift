import Testing

@testable import Listener

@Suite struct InputPatienceTests {
    @Test("A client that only acknowledges becomes patient, and stops being it with anything else")
    func acknowledgesOnly() {
        var patience = InputPatience()
        for read in 1...InputPatience.readsBefore {
            #expect(!patience.isPatient, "read \(read)")
            patience.received(canWait: true, isOther: true)
        }
        #expect(patience.isPatient)
        patience.received(canWait: false, isOther: true)
        #expect(!patience.isPatient)
    }

    @Test("What says nothing, such as PINGREQ and the beginning of a packet, changes nothing")
    func nothing() {
        var patience = InputPatience()
        for _ in 0..<InputPatience.readsBefore {
            patience.received(canWait: true, isOther: true)
            patience.received(canWait: false, isOther: false)
        }
        #expect(patience.isPatient)
        patience.received(canWait: false, isOther: false)
        #expect(patience.isPatient)
        patience.end()
        #expect(!patience.isPatient)
    }
}
