import Common

/// Decides when the children of `martlet run` are started, restarted and stopped. It touches no process and no clock: events
/// with `now` go in, actions come out.
///
/// Children belong to stages. A stage is started when all children of the one before are ready, and stopped when all of the
/// one after are gone: Redis, then router and auth workers, then listeners, and back.
package struct Supervisor {
    package typealias ChildID = Int

    package enum Action: Equatable {
        case start(ChildID)
        /// SIGTERM.
        case terminate(ChildID)
        /// SIGKILL.
        case kill(ChildID)
        /// A child died and is started again after this long.
        case noteRestart(ChildID, ending: Ending, afterNanoseconds: UInt64)
        /// A child did not end in time and is killed.
        case noteKilled(ChildID)
        /// All children are ready, for the first time.
        case noteReady
        /// All children are gone; nothing more comes.
        case finish(Outcome)
    }

    /// How a child ended.
    package enum Ending: Equatable, Sendable {
        case exited(code: Int32)
        case signalled(Int32)
        /// It could not be started: the system's reason.
        case notStarted(String)
    }

    package enum Outcome: Equatable, Sendable {
        /// As asked for.
        case stopped
        /// A child ended before all were ready.
        case failedAtStart(ChildID, Ending)
        /// A child lives, but was not ready in time.
        case notReady(ChildID)
        /// The caller had a reason of its own, see `fail`.
        case failed
    }

    package enum Timing {
        /// The first restart comes after this long, each further one after twice as long.
        package static let restartDelayNanoseconds = 100 * Nanoseconds.perMillisecond
        package static let restartDelayNanosecondsMax = 5 * Nanoseconds.perSecond
        /// A child that lived this long starts with the first delay again.
        package static let steadyLifeNanoseconds = 10 * Nanoseconds.perSecond
        /// All children are ready after this long, or the start has failed. Redis may have to load its data.
        package static let readyNanosecondsMax = 60 * Nanoseconds.perSecond
        /// From the request to stop to the last SIGKILL.
        package static let stopNanosecondsMax = 4 * Nanoseconds.perSecond
        /// Of that, kept for each stage that is not yet told to stop.
        package static let stopNanosecondsPerStage = 1 * Nanoseconds.perSecond
    }

    private enum ChildState: Equatable {
        /// Its stage was not started yet.
        case waiting
        /// `start` was asked for.
        case running(since: Instant)
        case restarting(at: Instant)
        case gone
    }

    private struct Child {
        let stage: Int
        var state = ChildState.waiting
        var isReady = false
        var nextDelayNanoseconds = Timing.restartDelayNanoseconds
    }

    private enum Phase: Equatable {
        case starting(stage: Int, deadline: Instant)
        case running
        case stopping(stage: Int, deadline: Instant, last: Instant, outcome: Outcome)
        case finished
    }

    private var children: [Child]
    private var phase: Phase

    /// - Parameter stages: of each child, from 0 without gaps; a child's index is its id.
    package init(stages: [Int], now: Instant) {
        self.children = stages.map { Child(stage: $0) }
        self.phase = .starting(stage: 0, deadline: now &+ Timing.readyNanosecondsMax)
    }

    /// When `tick` wants to be called; nil: not before the next event.
    package var deadline: Instant? {
        var earliest: Instant?
        switch self.phase {
        case .starting(_, let deadline): earliest = deadline
        case .stopping(_, let deadline, _, _): earliest = deadline
        case .running: break
        case .finished: return nil
        }
        for child in self.children {
            if case .restarting(let at) = child.state { earliest = min(earliest ?? at, at) }
        }
        return earliest
    }

    /// Every child is ready.
    package var isReady: Bool { self.phase == .running && self.children.allSatisfy(\.isReady) }

    // MARK: Events

    package mutating func begin(now: Instant) -> [Action] {
        self.startStage(0, now: now)
    }

    package mutating func childReady(_ id: ChildID, now: Instant) -> [Action] {
        guard case .running = self.children[id].state, !self.children[id].isReady else { return [] }
        self.children[id].isReady = true
        guard case .starting(let stage, let deadline) = self.phase else { return [] }
        guard self.children.allSatisfy({ $0.stage > stage || $0.isReady }) else { return [] }
        if stage < self.lastStage {
            self.phase = .starting(stage: stage + 1, deadline: deadline)
            return self.startStage(stage + 1, now: now)
        }
        self.phase = .running
        return [.noteReady]
    }

    /// A child ended, or could not be started.
    package mutating func childEnded(_ id: ChildID, _ ending: Ending, now: Instant) -> [Action] {
        guard case .running(let since) = self.children[id].state else { return [] }
        self.children[id].isReady = false
        switch self.phase {
        case .starting:
            self.children[id].state = .gone
            return self.stop(.failedAtStart(id, ending), now: now)
        case .running:
            if now &- since >= Timing.steadyLifeNanoseconds {
                self.children[id].nextDelayNanoseconds = Timing.restartDelayNanoseconds
            }
            let delay = self.children[id].nextDelayNanoseconds
            self.children[id].nextDelayNanoseconds = min(delay * 2, Timing.restartDelayNanosecondsMax)
            self.children[id].state = .restarting(at: now &+ delay)
            return [.noteRestart(id, ending: ending, afterNanoseconds: delay)]
        case .stopping(let stage, _, let last, let outcome):
            self.children[id].state = .gone
            guard !self.hasLiving(stage: stage) else { return [] }
            return self.stopStage(below: stage, last: last, outcome, now: now)
        case .finished:
            return []
        }
    }

    /// The user wants it to stop; a second time: at once.
    package mutating func stopRequested(now: Instant) -> [Action] {
        switch self.phase {
        case .starting, .running:
            return self.stop(.stopped, now: now)
        case .stopping(let stage, _, let last, let outcome):
            self.phase = .stopping(stage: stage, deadline: last, last: last, outcome: outcome)
            return self.living().map { .kill($0) }
        case .finished:
            return []
        }
    }

    /// Something outside of the children failed.
    package mutating func fail(now: Instant) -> [Action] {
        switch self.phase {
        case .starting, .running: return self.stop(.failed, now: now)
        case .stopping, .finished: return []
        }
    }

    package mutating func tick(now: Instant) -> [Action] {
        switch self.phase {
        case .starting(_, let deadline) where now >= deadline:
            let slow = self.children.indices.first { id in
                if case .running = self.children[id].state { return !self.children[id].isReady }
                return false
            }
            return self.stop(slow.map { .notReady($0) } ?? .failed, now: now)
        case .starting, .finished:
            return []
        case .running:
            var actions: [Action] = []
            for id in self.children.indices {
                guard case .restarting(let at) = self.children[id].state, at <= now else { continue }
                self.children[id].state = .running(since: now)
                actions.append(.start(id))
            }
            return actions
        case .stopping(let stage, let deadline, let last, let outcome):
            guard now >= deadline else { return [] }
            let late = self.living().filter { self.children[$0].stage == stage }
            // Their ends are still waited for: a killed process may take a moment, in a disk write say.
            self.phase = .stopping(stage: stage, deadline: Instant.max, last: last, outcome: outcome)
            return late.flatMap { [.noteKilled($0), .kill($0)] }
        }
    }

    // MARK: Stages

    private var lastStage: Int { self.children.map(\.stage).max() ?? 0 }

    private func living() -> [ChildID] {
        self.children.indices.filter { id in
            if case .running = self.children[id].state { return true }
            return false
        }
    }

    private func hasLiving(stage: Int) -> Bool {
        self.living().contains { self.children[$0].stage == stage }
    }

    private mutating func startStage(_ stage: Int, now: Instant) -> [Action] {
        var actions: [Action] = []
        for id in self.children.indices where self.children[id].stage == stage {
            self.children[id].state = .running(since: now)
            actions.append(.start(id))
        }
        return actions
    }

    private mutating func stop(_ outcome: Outcome, now: Instant) -> [Action] {
        for id in self.children.indices {
            switch self.children[id].state {
            case .waiting, .restarting: self.children[id].state = .gone
            case .running, .gone: break
            }
        }
        let last = now &+ Timing.stopNanosecondsMax
        return self.stopStage(below: self.lastStage + 1, last: last, outcome, now: now)
    }

    /// Tells the highest stage below `stage` that still has children to stop.
    private mutating func stopStage(
        below stage: Int,
        last: Instant,
        _ outcome: Outcome,
        now: Instant
    ) -> [Action] {
        guard let next = (0..<stage).last(where: { self.hasLiving(stage: $0) }) else {
            self.phase = .finished
            return [.finish(outcome)]
        }
        let reserve = UInt64(next) * Timing.stopNanosecondsPerStage
        self.phase = .stopping(stage: next, deadline: max(now, last &- reserve), last: last, outcome: outcome)
        return self.living().filter { self.children[$0].stage == next }.map { .terminate($0) }
    }
}
