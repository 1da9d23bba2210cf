import Common
import Glibc
import TestSupport
import Testing

/// For the handler of a signal, which can hold nothing.
private nonisolated(unsafe) var interruption = (socket: Int32(-1), until: Instant(0))

@Suite struct EventLoopTests {
    /// As when it was stopped and goes on: epoll_wait(2) says EINTR whatever has come, and the time-out of what was waited for was over.
    @Test("Regression: what came while the process did not run is handed out before a timer that became due meanwhile")
    func interrupted() throws {
        let loop = try EventLoop()
        let (near, far) = try makeSocketPair()
        var order: [String] = []
        let handler = ClosureHandler { _ in
            order.append("readable")
            _ = receiveNow(near)
        }
        let registration = try loop.register(near, for: .readable, handler: handler)
        defer {
            loop.deregister(registration)
            close(near)
            close(far)
        }
        interruption = (far, Clock.monotonic() + 2 * Nanoseconds.perSecond)
        loop.schedule(at: interruption.until) { order.append("timer") }
        var action = sigaction()
        action.__sigaction_handler = .init(sa_handler: { _ in
            var byte: UInt8 = 1
            send(interruption.socket, &byte, 1, 0)
            while Clock.monotonic() < interruption.until {}
        })
        var former = sigaction()
        sigaction(SIGUSR2, &action, &former)
        // Threads of a pool take no signals.
        var (signals, mask) = (sigset_t(), sigset_t())
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(SIG_UNBLOCK, &signals, &mask)
        defer {
            pthread_sigmask(SIG_SETMASK, &mask, nil)
            sigaction(SIGUSR2, &former, nil)
        }
        var name = [CChar](repeating: 0, count: 64)
        #expect(readlink("/proc/thread-self", &name, name.count - 1) > 0)
        let task = name.prefix { $0 != 0 }.map { Character(UnicodeScalar(UInt8(bitPattern: $0))) }.map(String.init)
            .joined()
        let target = pthread_self()
        let thread = try JoinableThread {
            try? waitUntil("the loop waits") {
                let (_, output) = try runProcess("cat", arguments: ["/proc/\(task)/stat"])
                return output.contains(") S ")
            }
            pthread_kill(target, SIGUSR2)
        }
        #expect(try loop.turn { order.count == 2 })
        thread.join()
        #expect(order == ["readable", "timer"])
    }

    @Test("Timers run in the order of their deadlines, equal ones in the order they were made, none early")
    func timerOrder() throws {
        let loop = try EventLoop()
        let start = Clock.monotonic()
        var order: [Int] = []
        for (name, milliseconds) in [(1, 30), (2, 10), (3, 20), (4, 10), (5, 0), (6, 30)] {
            let deadline = start + UInt64(milliseconds) * Nanoseconds.perMillisecond
            loop.schedule(at: deadline) {
                order.append(name)
                if loop.now < deadline { Issue.record("timer \(name) came early") }
            }
        }
        #expect(try loop.turn { order.count == 6 })
        #expect(order == [5, 2, 4, 3, 1, 6])
    }

    @Test("A cancelled timer does not run, also when an earlier timer of the same turn cancels it")
    func cancel() throws {
        let loop = try EventLoop()
        var ran: [String] = []
        var second: EventLoop.Timer?
        loop.schedule(at: 0) {
            ran.append("first")
            if let second { loop.cancel(second) }
        }
        second = loop.schedule(at: 1) { ran.append("second") }
        let third = loop.schedule(at: 2) { ran.append("third") }
        loop.cancel(third)
        loop.cancel(third)
        loop.schedule(at: 3) { ran.append("fourth") }
        #expect(try loop.turn { ran.count >= 2 })
        try loop.turnUntilQuiet()
        #expect(ran == ["first", "fourth"])
    }

    @Test("A timer that schedules itself for now runs once a turn")
    func timerForNow() throws {
        let loop = try EventLoop()
        var count = 0
        func again() {
            count += 1
            loop.schedule(at: 0, again)
        }
        loop.schedule(at: 0, again)
        for turn in 1...5 {
            try loop.turn(maximumWaitNanoseconds: 0)
            #expect(count == turn)
        }
    }

    @Test("Regression: a timer that schedules itself for the past does not keep others that are due from running")
    func timerForThePast() throws {
        let loop = try EventLoop()
        var greedy = 0
        var patient = 0
        func again() {
            greedy += 1
            loop.schedule(at: 0, again)
        }
        loop.schedule(at: 0, again)
        loop.schedule(at: 1) { patient += 1 }
        try loop.turn(maximumWaitNanoseconds: 0)
        #expect(greedy == 1)
        #expect(patient == 1)
    }

    @Test("A turn hands out descriptors, then timers, then the work for its end in the order it was added")
    func orderInATurn() throws {
        let loop = try EventLoop()
        var order: [String] = []
        loop.atEndOfTurn { order.append("end 1") }
        loop.atEndOfTurn { order.append("end 2") }
        let (near, far) = try makeSocketPair()
        defer {
            close(near)
            close(far)
        }
        let handler = ClosureHandler { _ in
            order.append("readable")
            _ = receiveNow(near)
        }
        let registration = try loop.register(near, for: .readable, handler: handler)
        loop.schedule(at: 0) { order.append("timer") }
        sendNow(far, [1])
        try loop.turn(maximumWaitNanoseconds: nil)
        #expect(order == ["readable", "timer", "end 1", "end 2"])
        loop.deregister(registration)
    }

    @Test("A handler that was deregistered by another one in the same turn is not called")
    func deregisterOther() throws {
        let loop = try EventLoop()
        let pairs = try (0..<2).map { _ in try makeSocketPair() }
        var registrations: [EventLoop.Registration] = []
        var called: [Int] = []
        for (index, pair) in pairs.enumerated() {
            let handler = ClosureHandler { _ in
                called.append(index)
                loop.deregister(registrations[1 - index])
                _ = receiveNow(pair.0)
            }
            registrations.append(try loop.register(pair.0, for: .readable, handler: handler))
            sendNow(pair.1, [1])
        }
        try loop.turn(maximumWaitNanoseconds: nil)
        try loop.turnUntilQuiet()
        #expect(called.count == 1)
        for registration in registrations { loop.deregister(registration) }
        for pair in pairs {
            close(pair.0)
            close(pair.1)
        }
    }

    @Test("An event of a registration that is gone does not reach the one that took its slot")
    func staleEvent() throws {
        let loop = try EventLoop()
        let pairs = try (0..<3).map { _ in try makeSocketPair() }
        var registrations: [Int: EventLoop.Registration] = [:]
        var called = 0
        var calledNew = 0
        let newHandler = ClosureHandler { _ in calledNew += 1 }
        for index in 0..<2 {
            let handler = ClosureHandler { _ in
                called += 1
                guard called == 1, let other = registrations[1 - index] else { return }
                loop.deregister(other)
                // The third pair has nothing to read.
                registrations[1 - index] = try? loop.register(pairs[2].0, for: .readable, handler: newHandler)
                _ = receiveNow(pairs[index].0)
            }
            registrations[index] = try loop.register(pairs[index].0, for: .readable, handler: handler)
            sendNow(pairs[index].1, [1])
        }
        try loop.turn(maximumWaitNanoseconds: nil)
        #expect(called == 1)
        #expect(calledNew == 0)
        sendNow(pairs[2].1, [1])
        #expect(try loop.turn { calledNew > 0 })
        for registration in registrations.values { loop.deregister(registration) }
        for pair in pairs {
            close(pair.0)
            close(pair.1)
        }
    }

    @Test("A registration that is gone cannot change or end the one that took its slot")
    func staleRegistration() throws {
        let loop = try EventLoop()
        let (near, far) = try makeSocketPair()
        var readable = 0
        let first = try loop.register(near, for: .readable, handler: ClosureHandler { _ in })
        loop.deregister(first)
        let second = try loop.register(near, for: .readable, handler: ClosureHandler { _ in readable += 1 })
        #expect(first != second)
        loop.modify(first, for: [])
        loop.deregister(first)
        sendNow(far, [1])
        #expect(try loop.turn { readable > 0 })
        loop.deregister(second)
        let before = readable
        try loop.turnUntilQuiet()
        #expect(readable == before)
        close(near)
        close(far)
    }

    @Test("A descriptor that epoll does not take is an error, and the loop goes on")
    func registerFails() throws {
        let loop = try EventLoop()
        #expect(throws: SystemError.self) {
            _ = try loop.register(-1, for: .readable, handler: ClosureHandler { _ in })
        }
        var ran = false
        loop.schedule(at: 0) { ran = true }
        #expect(try loop.turn { ran })
    }

    @Test("run returns after the turn in which stop was called")
    func stop() throws {
        let loop = try EventLoop()
        var turns = 0
        loop.atEndOfTurn { turns += 1 }
        for _ in 0..<2 {
            loop.schedule(afterNanoseconds: Nanoseconds.perMillisecond) { loop.stop() }
            let before = turns
            try loop.run()
            #expect(turns > before)
        }
    }

    @Test("A waker wakes the loop from another thread; many calls before a turn wake it once")
    func waker() throws {
        let loop = try EventLoop()
        var wakes = 0
        let waker = try Waker(loop: loop) { wakes += 1 }
        let calls = 1000
        final class Box {
            let handle: Waker.Handle
            let calls: Int
            init(_ handle: Waker.Handle, _ calls: Int) {
                self.handle = handle
                self.calls = calls
            }
        }
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box(waker.handle, calls)).toOpaque()
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                for _ in 0..<box.calls { box.handle.wake() }
                return nil
            },
            box
        )
        #expect(result == 0)
        // Without a maximum: only the other thread can end this wait.
        try loop.turn(maximumWaitNanoseconds: nil)
        pthread_join(thread, nil)
        try loop.turnUntilQuiet()
        #expect(wakes >= 1)
        let before = wakes
        for _ in 0..<calls { waker.handle.wake() }
        try loop.turnUntilQuiet()
        #expect(wakes == before + 1)
        waker.invalidate()
        waker.invalidate()
    }

    @Test("Back-off doubles up to its bound, with jitter, and starts over after a reset")
    func backoff() {
        let seed = testSeed()
        var random = SeededRandom(seed: seed)
        var backoff = Backoff(initialNanoseconds: 100, maximumNanoseconds: 1000)
        for _ in 0..<3 {
            for bound: UInt64 in [100, 200, 400, 800, 1000, 1000] {
                let delay = backoff.next(using: &random)
                #expect(delay >= bound / 2 && delay <= bound, "seed \(seed)")
            }
            backoff.reset()
        }
    }
}
