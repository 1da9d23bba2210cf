import CLinux
import Common
import Glibc

/// Performs what `Supervisor` decides: starts processes, reads their output and readiness, sends signals, keeps time.
package final class SupervisorRunner {
    private let loop: EventLoop
    private let programs: [ChildProgram]
    private let sockets: [ListeningSockets.Socket]
    private let runtimeDirectory: String
    private let environment: [String]
    private let nameWidth: Int
    private var supervisor: Supervisor
    private var processes: [Int: SupervisedProcess] = [:]
    private var notifySockets: [Int: NotifySocket] = [:]
    private var signals: SignalSource?
    private var timer: EventLoop.Timer?
    private var failure: CommandFailure?
    private var lastLines: [Int: String] = [:]
    private let hasTerminal = isatty(STDIN_FILENO) == 1
    /// Called once, when all children are ready for the first time.
    package var onReady: () -> Void = {}
    /// Called when a stage's children are ready and the next one is about to start; throws what ends everything.
    package var onChildReady: (ChildProgram) throws(CommandFailure) -> Void = { _ throws(CommandFailure) in }

    private static let probeIntervalNanoseconds = 50 * Nanoseconds.perMillisecond

    /// - Parameters:
    ///   - runtimeDirectory: exists; the children's notification sockets are made in `notify` below it.
    ///   - environment: for the children.
    package init(
        loop: EventLoop,
        programs: [ChildProgram],
        sockets: [ListeningSockets.Socket],
        runtimeDirectory: String,
        environment: [String: String]
    ) {
        self.loop = loop
        self.programs = programs
        self.sockets = sockets
        self.runtimeDirectory = runtimeDirectory
        // What a service manager told us is not for our children.
        let own = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID"]
        self.environment = environment.filter { !own.contains($0.key) }.map { "\($0.key)=\($0.value)" }.sorted()
        self.nameWidth = programs.map(\.name.utf8.count).max() ?? 0
        self.supervisor = Supervisor(stages: programs.map(\.stage), now: Clock.monotonic())
    }

    /// Runs until everything is stopped.
    ///
    /// - Throws: why, unless somebody asked for it.
    package func run() throws {
        let notifyDirectory = "\(self.runtimeDirectory)/notify"
        guard mkdir(notifyDirectory, 0o700) == 0 || errno == EEXIST else {
            throw CommandFailure("cannot make the folder \(notifyDirectory): \(Configuration.describe(errno))")
        }
        Self.raiseDescriptorLimit()
        self.signals = try SignalSource(loop: self.loop) { [weak self] number in self?.handleSignal(number) }
        for (id, program) in self.programs.enumerated() {
            guard case .notification = program.readiness else { continue }
            self.notifySockets[id] = try NotifySocket(
                loop: self.loop,
                path: "\(notifyDirectory)/\(program.name).sock"
            ) { [weak self] in self?.childReady(id) }
        }
        defer {
            for socket in self.notifySockets.values { socket.close() }
            rmdir(notifyDirectory)
        }
        self.perform(self.supervisor.begin(now: Clock.monotonic()))
        try self.loop.run()
        if let failure = self.failure { throw failure }
    }

    /// A descriptor per connection: the children inherit as many as this process may have.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Stops everything; `run` then throws this.
    package func fail(_ failure: CommandFailure) {
        if self.failure == nil { self.failure = failure }
        self.perform(self.supervisor.fail(now: Clock.monotonic()))
    }

    // MARK: Events

    private func handleSignal(_ number: Int32) {
        switch number {
        case SIGTERM, SIGINT: self.perform(self.supervisor.stopRequested(now: Clock.monotonic()))
        case SIGCHLD: self.reap()
        case SIGHUP where self.hasTerminal:
            // The terminal is gone, and with it whoever could press Ctrl-C.
            self.perform(self.supervisor.stopRequested(now: Clock.monotonic()))
        case SIGHUP: for process in self.processes.values { process.signal(SIGHUP) }
        default: break
        }
    }

    private func reap() {
        for (id, process) in self.processes.sorted(by: { $0.key < $1.key }) {
            var status: Int32 = 0
            guard waitpid(process.pid, &status, WNOHANG) == process.pid else { continue }
            self.processes[id] = nil
            process.finish()
            self.lastLines[id] = process.lastLine
            let signal = martlet_wait_signal(status)
            let ending =
                signal == 0 ? .exited(code: martlet_wait_exit_code(status)) : Supervisor.Ending.signalled(signal)
            self.perform(self.supervisor.childEnded(id, ending, now: Clock.monotonic()))
        }
    }

    private func childReady(_ id: Int) {
        guard self.processes[id] != nil else { return }
        do {
            try self.onChildReady(self.programs[id])
        } catch {
            return self.fail(error)
        }
        self.perform(self.supervisor.childReady(id, now: Clock.monotonic()))
    }

    private func probe(_ id: Int, _ pid: pid_t, _ isReady: @escaping () -> Bool) {
        self.loop.schedule(afterNanoseconds: Self.probeIntervalNanoseconds) { [weak self] in
            guard let self, self.processes[id]?.pid == pid else { return }
            if isReady() { self.childReady(id) } else { self.probe(id, pid, isReady) }
        }
    }

    // MARK: Actions

    private func perform(_ actions: [Supervisor.Action]) {
        for action in actions {
            switch action {
            case .start(let id): self.start(id)
            case .terminate(let id): self.processes[id]?.signal(SIGTERM)
            case .kill(let id): self.processes[id]?.kill()
            case .noteRestart(let id, let ending, let delay):
                let wait = DurationText.describe(nanoseconds: delay)
                let name = self.programs[id].name
                Terminal.complain("\(name) \(Self.describe(ending)); it is started again in \(wait)")
            case .noteKilled(let id):
                Terminal.complain("\(self.programs[id].name) did not stop in time and is killed")
            case .noteReady: self.onReady()
            case .finish(let outcome): self.finish(outcome)
            }
        }
        self.scheduleTick()
    }

    private func scheduleTick() {
        if let timer = self.timer { self.loop.cancel(timer) }
        self.timer = nil
        guard let deadline = self.supervisor.deadline, deadline != Instant.max else { return }
        self.timer = self.loop.schedule(at: deadline) { [weak self] in
            guard let self else { return }
            self.timer = nil
            self.perform(self.supervisor.tick(now: Clock.monotonic()))
        }
    }

    private func start(_ id: Int) {
        let program = self.programs[id]
        var environment = self.environment
        if let socket = self.notifySockets[id] { environment.append("NOTIFY_SOCKET=\(socket.path)") }
        do throws(SystemError) {
            let process = try SupervisedProcess(
                loop: self.loop,
                program: program,
                environment: environment,
                sockets: program.takesSockets ? self.sockets : [],
                prefixer: LinePrefixer(name: program.name, width: self.nameWidth)
            )
            self.processes[id] = process
            if case .probe(let isReady) = program.readiness { self.probe(id, process.pid, isReady) }
        } catch {
            let ending = Supervisor.Ending.notStarted("\(program.path): \(error.reason)")
            self.loop.schedule(afterNanoseconds: 0) { [weak self] in
                guard let self else { return }
                self.perform(self.supervisor.childEnded(id, ending, now: Clock.monotonic()))
            }
        }
    }

    private func finish(_ outcome: Supervisor.Outcome) {
        switch outcome {
        case .stopped, .failed:
            break
        case .failedAtStart(let id, let ending):
            let lastLine = self.lastLines[id] ?? ""
            let reason = lastLine.isEmpty ? "" : "; its last words: \(lastLine)"
            self.failure =
                self.failure
                ?? CommandFailure("\(self.programs[id].name) \(Self.describe(ending)) at start-up\(reason)")
        case .notReady(let id):
            let limit = DurationText.describe(nanoseconds: Supervisor.Timing.readyNanosecondsMax)
            self.failure = self.failure ?? CommandFailure("\(self.programs[id].name) was not ready after \(limit)")
        }
        self.loop.stop()
    }

    private static func describe(_ ending: Supervisor.Ending) -> String {
        switch ending {
        case .exited(let code): return "ended with exit code \(code)"
        case .signalled(let number): return "was ended by signal \(number)"
        case .notStarted(let reason): return "could not be started (\(reason))"
        }
    }
}
