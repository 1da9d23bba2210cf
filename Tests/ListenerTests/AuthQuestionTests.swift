import Common
import Testing

@testable import Listener

/// Workers that are told what the listener hears of them, and one client's question; no sockets.
@Suite struct AuthQuestionTests {
    private static let timeout = 2 * Nanoseconds.perSecond
    private static let start: Instant = 1000 * Nanoseconds.perSecond
    private static let half = AuthWorkerPulse.periodNanoseconds

    private var question = AuthQuestion()
    private var pulses: [AuthWorkerPulse?] = []
    /// Whom it was asked of.
    private var asked: [Int] = []

    /// All have answered a ping when the client comes.
    private mutating func begin(workers: Int) {
        self.pulses = Array(repeating: AuthWorkerPulse(), count: workers)
        for worker in 0..<workers { self.ping(worker, answers: true, now: Self.start - 1) }
        self.question.begin(now: Self.start)
        self.ask(now: Self.start)
    }

    @discardableResult
    private mutating func ping(_ worker: Int, answers: Bool, now: Instant) -> AuthWorkerPulse.Action? {
        let action = self.pulses[worker]?.tick(now: now, timeout: Self.timeout)
        if answers { _ = self.pulses[worker]?.heard(isPong: true, now: now) }
        return action
    }

    private mutating func ask(now: Instant) {
        let worker = self.question.ask(Array(self.pulses.indices), now: now, pulses: self.pulses)
        if let worker { self.asked.append(worker) }
    }

    private mutating func step(now: Instant) -> AuthQuestion.Step {
        let step = self.question.step(now: now, timeout: Self.timeout, pulses: self.pulses)
        if step == .askElsewhere { self.ask(now: now) }
        return step
    }

    /// It was asked of another one after `worker_timeout`, and of the first again: where passwords take long, each was compared five times.
    @Test mutating func `Regression: a worker that answers pings is not left, however long it takes`() {
        self.begin(workers: 2)
        var now = Self.start
        while now < self.question.end {
            for worker in 0..<2 { self.ping(worker, answers: true, now: now + 1) }
            now += Self.half
            guard now >= Self.start + Self.timeout, now < self.question.end else { continue }
            #expect(self.step(now: now) == .wait(until: min(now + Self.timeout, self.question.end)))
        }
        #expect(self.asked == [0])
        #expect(self.question.end == Self.start + Limits.brokerWaitNanoseconds)
        #expect(self.step(now: self.question.end) == .end(.undecided))
    }

    /// A worker of the release before answers no pings.
    @Test mutating func `Regression: a worker that answers others is not left`() {
        self.pulses = [AuthWorkerPulse(), AuthWorkerPulse()]
        for worker in 0..<2 { self.ping(worker, answers: false, now: Self.start) }
        self.question.begin(now: Self.start)
        self.ask(now: Self.start)
        var now = Self.start
        while now < self.question.end - Self.timeout {
            now += Self.timeout
            _ = self.pulses[0]?.heard(isPong: false, now: now - 1)
            self.ping(0, answers: false, now: now)
            #expect(self.step(now: now) == .wait(until: min(now + Self.timeout, self.question.end)))
        }
        #expect(self.asked == [0])
    }

    @Test mutating func `a worker that says nothing after the question is left when worker_timeout is over`() {
        self.begin(workers: 2)
        self.ping(0, answers: false, now: Self.start + Self.half)
        self.ping(1, answers: true, now: Self.start + Self.half)
        let early = Self.start + Self.timeout - 1
        #expect(self.step(now: early) == .wait(until: early + Self.timeout))
        #expect(self.step(now: Self.start + Self.timeout) == .askElsewhere)
        #expect(self.asked == [0, 1])
    }

    /// It stops right after it answered something.
    @Test mutating func `a worker that falls silent later is left worker_timeout after the ping that it owes`() {
        self.begin(workers: 2)
        var now = Self.start
        for _ in 0..<4 {
            now += Self.half
            for worker in 0..<2 { self.ping(worker, answers: true, now: now) }
        }
        #expect(self.step(now: now) == .wait(until: now + Self.timeout))
        let pinged = now + Self.half
        #expect(self.ping(0, answers: false, now: pinged) == .ping)
        self.ping(1, answers: true, now: pinged)
        #expect(self.ping(0, answers: false, now: pinged + Self.timeout - 1) == .wait)
        #expect(self.ping(0, answers: false, now: pinged + Self.timeout) == .fellSilent)
        #expect(self.step(now: pinged + Self.timeout) == .askElsewhere)
        #expect(self.asked == [0, 1])
    }

    @Test mutating func `Regression: no worker is asked twice in one wait, though all are silent in turn`() {
        self.begin(workers: 3)
        var now = Self.start
        while now < self.question.end {
            // Who is not asked is heard of.
            for worker in 0..<3 where worker != self.question.worker { self.ping(worker, answers: true, now: now) }
            now += Self.half
            _ = self.step(now: now)
        }
        #expect(self.asked == [0, 1, 2])
        #expect(self.step(now: now) == .end(.unanswered))
    }

    @Test mutating func `the only worker keeps the question, and so do silent ones where all are`() {
        self.begin(workers: 1)
        let now = Self.start + Self.timeout
        #expect(self.step(now: now) == .wait(until: now + Self.timeout))
        #expect(self.step(now: self.question.end) == .end(.unanswered))
        #expect(self.asked == [0])

        self.asked = []
        self.begin(workers: 2)
        for worker in 0..<2 {
            self.ping(worker, answers: false, now: Self.start)
            #expect(self.ping(worker, answers: false, now: now) == .fellSilent)
        }
        #expect(self.step(now: now) == .wait(until: now + Self.timeout))
        #expect(self.asked == [0])
        // One goes on: it is asked at the next look.
        self.ping(1, answers: true, now: now + 1)
        #expect(self.step(now: now + Self.timeout) == .askElsewhere)
        #expect(self.asked == [0, 1])
    }

    @Test mutating func `a worker whose link broke is left at once, and the next process there is asked`() {
        self.begin(workers: 2)
        self.pulses[0] = nil
        self.question.lost(0)
        #expect(self.question.worker == nil)
        self.ask(now: Self.start + 1)
        #expect(self.asked == [0, 1])
        self.pulses[1] = nil
        self.question.lost(1)
        self.ask(now: Self.start + 2)
        #expect(self.asked == [0, 1])
        #expect(self.question.worker == nil)
        self.pulses[0] = AuthWorkerPulse()
        self.ask(now: Self.start + 3)
        #expect(self.asked == [0, 1, 0])
    }

    @Test mutating func `a verdict of one that was left counts when it decides, until the wait is over`() {
        self.begin(workers: 2)
        #expect(self.step(now: Self.start + Self.timeout) == .askElsewhere)
        #expect(self.asked == [0, 1])
        #expect(self.question.takes(.unknown, from: 1))
        #expect(!self.question.takes(.unknown, from: 0))
        #expect(self.question.takes(.deny, from: 0) && self.question.takes(.allow, from: 0))
        self.question.decided(by: 0)
        #expect(self.question.worker == 0)
        #expect(!self.question.takes(.allow, from: 1))
    }

    @Test func `with a short worker_timeout a ping goes along with the question`() {
        var pulse = AuthWorkerPulse()
        #expect(pulse.asked(now: 1, timeout: 2 * Self.half) == .wait)
        #expect(pulse.asked(now: 1, timeout: Self.half) == .ping)
        #expect(pulse.asked(now: 2, timeout: Self.half) == .wait)
        _ = pulse.heard(isPong: true, now: 3)
        #expect(pulse.asked(now: 3, timeout: Self.half) == .ping)
    }
}
