import Common
import Logging
import SimulatedKernel

/// One role, as its process would run it: started, turned, told to stop, killed, and started again.
final class SimulatedProcess {
    let name: String
    /// Its number for the kernel; 0 is the simulation itself.
    let number: Int32
    /// How often it was started.
    private(set) var generation = 0
    /// Nil while it runs: when it is started again.
    private(set) var startsAt: Instant? = 0
    /// It was told to stop.
    private(set) var isStopping = false
    /// It does nothing until then, as one that the system gives no time.
    var stalledUntil: Instant = 0
    /// Its threads go on in one of so many turns.
    var threadShare: UInt64 = 3
    /// Called when it is about to be gone.
    var onEnd: (() -> Void)?
    private let context: (EventLoop) -> RoleContext
    private let make: (RoleContext) throws -> any Role
    private var role: (any Role)?
    private var loop: EventLoop?
    /// When it wants its next turn, if nothing comes.
    private var wakesAt: Instant?
    private let clock: SimulatedClock

    init(
        _ number: Int,
        _ name: String,
        configuration: Configuration,
        instance: Int = 1,
        clock: SimulatedClock,
        make: @escaping (RoleContext) throws -> any Role
    ) {
        self.number = Int32(number)
        self.name = name
        self.clock = clock
        self.make = make
        self.context = { loop in
            RoleContext(
                loop: loop,
                logger: Logger(label: name, factory: { _ in SwiftLogNoOpLogHandler() }),
                configuration: configuration,
                name: name,
                instance: instance
            )
        }
    }

    var isRunning: Bool { self.role != nil }

    private func inside<Result>(_ body: () throws -> Result) rethrows -> Result {
        simulated_enter(self.number)
        defer { simulated_enter(0) }
        return try body()
    }

    // MARK: Turns

    /// One turn of its loop, or one step of its threads. Returns whether it had something to do.
    func act(choice: UInt64) throws -> Bool {
        if let instant = self.startsAt {
            guard instant <= self.clock.now else { return false }
            do {
                try self.start()
            } catch  where simulated_is_disk_full(self.number) {
                // Its supervisor starts it again.
                self.end(restartsAt: self.clock.now + 500 * Nanoseconds.perMillisecond)
            }
            return true
        }
        guard self.stalledUntil <= self.clock.now else { return false }
        if choice % self.threadShare == 0, self.inside({ simulated_step_thread(self.number, choice >> 8) }) {
            self.endIfDead()
            return true
        }
        let wasDue = self.wakesAt.map { $0 <= self.clock.now } ?? false
        try self.turn()
        let hadEvents = simulated_events() > 0
        if self.endIfDead() { return true }
        if self.loop?.isStopped ?? false { self.end(restartsAt: self.clock.now) }
        return hadEvents || wasDue || self.wakesAt.map { $0 <= self.clock.now } ?? false
    }

    private func turn() throws {
        try self.inside { try self.loop?.turn(maximumWaitNanoseconds: nil) }
        let timeout = simulated_timeout()
        self.wakesAt = timeout < 0 ? nil : self.clock.now + UInt64(timeout) * Nanoseconds.perMillisecond
    }

    /// When it has something to do again, as far as nobody else does anything.
    var deadline: Instant {
        if let startsAt = self.startsAt { return startsAt }
        let earliest = min(self.wakesAt ?? .max, simulated_thread_deadline(self.number))
        return max(earliest, self.stalledUntil)
    }

    // MARK: Beginning and end

    private func start() throws {
        simulated_revive(self.number)
        self.startsAt = nil
        self.isStopping = false
        self.generation += 1
        try self.inside {
            let loop = try EventLoop()
            self.loop = loop
            let role = try self.make(self.context(loop))
            self.role = role
            try role.start()
        }
        self.wakesAt = self.clock.now
    }

    /// Kill -9, after so many more of its calls that others could notice.
    func kill(afterCalls calls: Int, restartsAt: Instant) {
        guard self.role != nil, !simulated_is_dead(self.number) else { return }
        self.restartsAtAfterDeath = restartsAt
        simulated_die_after(self.number, UInt32(calls))
        self.endIfDead()
    }

    private var restartsAtAfterDeath: Instant = 0

    @discardableResult
    private func endIfDead() -> Bool {
        guard self.role != nil, simulated_is_dead(self.number) else { return false }
        self.end(restartsAt: max(self.restartsAtAfterDeath, self.clock.now))
        return true
    }

    func stop() {
        guard let role = self.role, !self.isStopping else { return }
        self.isStopping = true
        self.inside { role.stop() }
        self.wakesAt = self.clock.now
    }

    /// Gives back what the process had. Nothing that it does on the way is seen by others.
    private func end(restartsAt: Instant) {
        guard self.role != nil else { return }
        self.onEnd?()
        simulated_die_after(self.number, 0)
        self.inside { self.release() }
        self.startsAt = restartsAt
        self.stalledUntil = 0
    }

    /// Inside, to the last reference: files are closed by it.
    private func release() {
        guard let role = self.role.take(), let loop = self.loop.take() else { return }
        if !self.isStopping { role.stop() }
        role.stopAtOnce()
        // A listener looks after its last frames every ten milliseconds.
        for _ in 0..<200 where !loop.isStopped {
            self.clock.advance(by: 10 * Nanoseconds.perMillisecond)
            try? loop.turn(maximumWaitNanoseconds: nil)
        }
        while simulated_step_thread(self.number, 0) {}
        loop.tearDown()
    }

    /// Ends it for good.
    func finish() {
        self.end(restartsAt: .max)
    }

    func status(_ name: String) -> String? {
        guard let role = self.role else { return nil }
        return self.inside { role.status().lines.first { $0.name == name }?.value }
    }
}
