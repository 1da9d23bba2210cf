import Testing

@testable import Common

@Suite struct WatchdogTests {
    @Test func itIsFedOnlyWhereTheServiceManagerAsksForIt() {
        #expect(Watchdog.interval([:], pid: 7) == nil)
        #expect(Watchdog.interval(["WATCHDOG_USEC": "10000000"], pid: 7) == 10 * Nanoseconds.perSecond)
        #expect(
            Watchdog.interval(["WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"], pid: 7) == 10 * Nanoseconds.perSecond
        )
        // Of the process that started this one.
        #expect(Watchdog.interval(["WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"], pid: 7) == nil)
        for nonsense in ["", "0", "-5", "many", "99999999999999999999"] {
            #expect(Watchdog.interval(["WATCHDOG_USEC": nonsense], pid: 7) == nil)
        }
    }
}
