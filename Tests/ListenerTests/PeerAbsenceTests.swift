import Testing

@testable import Listener

@Suite struct PeerAbsenceTests {
    @Test func `a restart is no absence, and an absence is told once, and its end`() {
        var absence = PeerAbsence()
        for _ in 0..<3 {
            for _ in 1..<PeerAbsence.looks { #expect(absence.look(isThere: false) == .none) }
            #expect(absence.look(isThere: true) == .none)
        }
        for _ in 1..<PeerAbsence.looks { #expect(absence.look(isThere: false) == .none) }
        #expect(!absence.isAway)
        #expect(absence.look(isThere: false) == .began)
        for _ in 0..<100 { #expect(absence.look(isThere: false) == .none) }
        #expect(absence.isAway)
        #expect(absence.look(isThere: true) == .ended)
        #expect(!absence.isAway)
        #expect(absence.look(isThere: true) == .none)
    }
}
