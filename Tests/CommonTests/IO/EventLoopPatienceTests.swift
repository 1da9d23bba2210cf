import Common
import Glibc
import TestSupport
import Testing

/// Descriptors that wake nobody by themselves for a while.
@Suite struct EventLoopPatienceTests {
    /// One that is patient and one that is not, and in which order they were called.
    private final class Two {
        let loop: EventLoop
        let pairs: [(Int32, Int32)]
        var registrations: [EventLoop.Registration] = []
        var order: [String] = []

        init() throws {
            let loop = try EventLoop()
            self.loop = loop
            self.pairs = try (0..<2).map { _ in try makeSocketPair() }
            for (name, pair) in zip(["patient", "other"], self.pairs) {
                let handler = ClosureHandler { [unowned self] events in
                    self.order.append(events.contains(.writable) ? "\(name) writes" : name)
                    _ = receiveNow(pair.0)
                }
                self.registrations.append(try loop.register(pair.0, for: .readable, handler: handler))
            }
            loop.setPatient(self.registrations[0], true, for: .readable)
        }

        deinit {
            for registration in self.registrations { self.loop.deregister(registration) }
            for pair in self.pairs {
                close(pair.0)
                close(pair.1)
            }
        }

        func ready(_ index: Int) { sendNow(self.pairs[index].1, [1]) }
    }

    @Test("A patient descriptor is handled in the turn that another one causes, after it")
    func ridesAlong() throws {
        let two = try Two()
        two.loop.waitPatiently()
        for _ in 0..<3 {
            two.ready(0)
            two.ready(1)
            try two.loop.turn(maximumWaitNanoseconds: nil)
        }
        #expect(two.order == ["other", "patient", "other", "patient", "other", "patient"])
    }

    @Test("When nothing else comes it is handled all the same, and from then on at once")
    func waitEnds() throws {
        let two = try Two()
        two.loop.waitPatiently()
        two.ready(0)
        try two.loop.turn(maximumWaitNanoseconds: nil)
        #expect(two.order == ["patient"])
        two.ready(0)
        // Without a wait: it is reported as any other.
        try two.loop.turn(maximumWaitNanoseconds: 0)
        #expect(two.order == ["patient", "patient"])
    }

    @Test("Without waitPatiently it is reported as any other")
    func notWaiting() throws {
        let two = try Two()
        two.ready(0)
        try two.loop.turn(maximumWaitNanoseconds: 0)
        #expect(two.order == ["patient"])
    }

    @Test("A loop that has nothing to do sleeps, however patiently it waited before")
    func sleeps() throws {
        let two = try Two()
        two.loop.waitPatiently()
        try two.loop.turn(maximumWaitNanoseconds: nil)
        let before = Clock.monotonic()
        try two.loop.turn(maximumWaitNanoseconds: 30 * Nanoseconds.perMillisecond)
        #expect(Clock.monotonic() - before >= 29 * Nanoseconds.perMillisecond)
    }

    @Test("A timer is not late because the loop waits patiently")
    func timers() throws {
        let two = try Two()
        var ran = false
        two.loop.waitPatiently()
        two.loop.schedule(afterNanoseconds: Nanoseconds.perMillisecond) { ran = true }
        #expect(try two.loop.turn { ran })
    }

    @Test("What a patient descriptor waits for can be changed, and it can become impatient again")
    func changes() throws {
        let two = try Two()
        two.loop.modify(two.registrations[0], for: [])
        two.ready(0)
        two.loop.waitPatiently()
        try two.loop.turnUntilQuiet()
        #expect(two.order.isEmpty)
        two.loop.modify(two.registrations[0], for: [.readable, .writable])
        #expect(try two.loop.turn { !two.order.isEmpty })
        #expect(two.order.allSatisfy { $0 == "patient writes" })
        two.loop.modify(two.registrations[0], for: .readable)
        two.order.removeAll()
        two.loop.waitPatiently()
        two.loop.setPatient(two.registrations[0], false, for: .readable)
        two.ready(0)
        try two.loop.turn(maximumWaitNanoseconds: 0)
        #expect(two.order == ["patient"])
    }

    @Test("One that is taken away is not called, also when that happens in the turn in which it is ready")
    func goes() throws {
        let two = try Two()
        let (near, far) = try makeSocketPair()
        defer {
            close(near)
            close(far)
        }
        let other = try two.loop.register(
            near,
            for: .readable,
            handler: ClosureHandler { _ in
                _ = receiveNow(near)
                two.loop.deregister(two.registrations[0])
            }
        )
        two.loop.waitPatiently()
        two.ready(0)
        sendNow(far, [1])
        try two.loop.turn(maximumWaitNanoseconds: nil)
        try two.loop.turnUntilQuiet()
        #expect(two.order.isEmpty)
        two.loop.deregister(other)
    }
}
