import Common
import TLS
import Testing

@testable import Listener

@Suite struct RefusalLimiterTests {
    private let second = Nanoseconds.perSecond

    @Test("So many a second and reason; the next one that is logged tells how many were left out")
    func limits() {
        var limiter = RefusalLimiter(perSecond: 2)
        #expect(limiter.admit(.notMQTT, now: 0) == 0)
        #expect(limiter.admit(.notMQTT, now: 1) == 0)
        #expect(limiter.admit(.notMQTT, now: 2) == nil)
        #expect(limiter.admit(.notMQTT, now: self.second - 1) == nil)
        // Another reason has a count of its own.
        #expect(limiter.admit(.connectTimeout, now: 3) == 0)
        #expect(limiter.admit(.auth(.wrongPassword), now: 3) == 0)
        #expect(limiter.admit(.notMQTT, now: self.second) == 2)
        #expect(limiter.admit(.notMQTT, now: self.second + 1) == 0)
        #expect(limiter.admit(.notMQTT, now: self.second + 2) == nil)
    }

    @Test("What was left out is told of when the second is over, once")
    func omitted() {
        var limiter = RefusalLimiter(perSecond: 1)
        for now in 0..<5 { _ = limiter.admit(.notMQTT, now: Instant(now)) }
        _ = limiter.admit(.connectTimeout, now: 0)
        #expect(limiter.takeOmitted(now: self.second - 1).isEmpty)
        let omitted = limiter.takeOmitted(now: self.second)
        #expect(omitted.map(\.reason) == [.notMQTT])
        #expect(omitted.map(\.count) == [4])
        #expect(limiter.takeOmitted(now: 10 * self.second).isEmpty)
        #expect(limiter.admit(.notMQTT, now: self.second) == 0)
    }

    @Test("Every reason has a name of its own, fit for a metric's label")
    func names() {
        var reasons: [RefusalReason] = [
            .tooManyConnections, .handshakeTimeout, .connectTimeout, .certificateField, .notMQTT, .malformedConnect,
            .connectTooLarge, .willTooLarge, .protocolVersion, .enhancedAuthentication, .noAuthenticationConfigured,
            .authWorkerUnavailable, .routerUnavailable,
        ]
        reasons += AuthVerdict.Reason.allCases.map { .auth($0) }
        reasons += ReasonCode.allCases.map { .router($0) }
        let names = reasons.map(\.description)
        #expect(Set(names).count == names.count)
        for name in names {
            #expect(
                name.utf8.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D },
                "\(name)"
            )
        }
    }
}
