import Common
import Devices
import Glibc
import Logging
import SQLite

/// The source for those without Redis: devices in a file of this host, which the tool writes.
final class EmbeddedSource {
    /// How often the file is asked whether it was written: what live sessions may notice of a change at the latest.
    private static let pollNanoseconds = 250 * Nanoseconds.perMillisecond

    /// Its place among the sources.
    private let index: Int
    private unowned let service: AuthWorkerService
    private let logger: Logger
    private let loop: EventLoop
    private let path: String
    private let command: CommandSet
    private var database: DeviceDatabase?
    private var dataVersion: Int64 = 0
    private var revision: Int64 = 0
    /// Why the file is not in use; nil: it is.
    private(set) var lastProblem: String?
    private(set) var authenticator: Authenticator
    private let passwordWaker: Waker
    private let passwordThreads: PasswordThreads
    private var isStopped = false

    init(_ settings: EmbeddedSourceSettings, index: Int, service: AuthWorkerService) throws {
        self.index = index
        self.service = service
        var logger = service.context.logger
        if !settings.source.name.isEmpty { logger[metadataKey: "source"] = "\(settings.source.name)" }
        self.logger = logger
        self.loop = service.context.loop
        self.path = settings.source.file
        self.command = settings.command
        self.passwordWaker = try Waker(loop: service.context.loop) {}
        self.passwordThreads = PasswordThreads(waker: self.passwordWaker.handle)
        let folder = CacheFolder.open(settings.source.cache)
        if let trouble = folder.trouble {
            logger.error("no key of the host, one of this process is used", metadata: ["reason": "\(trouble)"])
        }
        self.authenticator = settings.makeAuthenticator(hostKey: folder.hostKey)
    }

    func start() {
        self.open()
        self.schedulePoll()
    }

    func stop() {
        self.isStopped = true
        self.passwordThreads.stop()
        self.passwordWaker.invalidate()
    }

    var counters: AuthCounters {
        var counters = self.authenticator.statistics
        if let count = counters.unknown.removeValue(forKey: .redisUnavailable) {
            counters.unknown[.deviceFileUnavailable] = count
        }
        return counters
    }

    /// Where it would look for a client, and by which name.
    func explain(_ query: AuthQuery, into block: inout Report.Block) {
        block.add("file", self.path)
        if let problem = self.lastProblem { block.add("problem", problem) }
        do throws(TemplateText.RenderFailure) {
            block.add("key", bytes: try self.command.render(ClientAttributes(query)).key.redisKey)
        } catch {
            block.add("key", "cannot be filled in: \(error)")
        }
    }

    var status: String { self.lastProblem.map { "unavailable: \($0)" } ?? "in use" }

    // MARK: The file

    private func open() {
        do throws(SQLiteError) {
            let database = try DeviceDatabase(path: self.path, use: .read)
            self.dataVersion = try database.dataVersion()
            self.revision = try database.revision()
            self.database = database
            if self.lastProblem != nil {
                self.logger.notice("file of devices in use", metadata: ["file": "\(self.path)"])
            }
            self.lastProblem = nil
            // What changed meanwhile is not known.
            self.doubtAll()
        } catch {
            self.failed(error)
        }
    }

    private func failed(_ error: SQLiteError) {
        self.database = nil
        let isMissing = error.isCannotOpen && Glibc.access(self.path, F_OK) != 0 && errno == ENOENT
        let problem = isMissing ? Configuration.missingDeviceFile(self.path) : error.description
        guard self.lastProblem != problem else { return }
        self.lastProblem = problem
        self.logger.error(
            "the file of devices cannot be read, nobody new is let in by it",
            metadata: ["reason": "\(problem)"]
        )
    }

    private func schedulePoll() {
        self.loop.schedule(afterNanoseconds: Self.pollNanoseconds) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.lookForChanges()
            self.schedulePoll()
        }
    }

    private func lookForChanges() {
        guard let database = self.database else { return self.open() }
        let change = database.fileChange()
        guard change != .replaced else {
            self.database = nil
            return self.open()
        }
        do throws(SQLiteError) {
            let version = try database.dataVersion()
            guard version != self.dataVersion else {
                if change == .written { self.open() }
                return
            }
            let names = try database.namesChanged(after: self.revision)
            self.revision = try database.revision()
            self.dataVersion = version
            self.authenticator.changed(names, now: self.service.time)
            self.service.announce(names.map(LookupKey.hash), of: self.index)
        } catch {
            if !error.isBusy { self.failed(error) }
        }
    }

    private func doubtAll() {
        self.authenticator.allChanged(now: self.service.time)
        self.service.announce(AuthChanged(all: true))
    }

    // MARK: A turn

    func receive(_ query: AuthQuery, _ request: Authenticator.Request) {
        self.authenticator.receive(query, request: request, now: self.service.time)
    }

    func endTurn() {
        guard !self.isStopped else { return }
        for result in self.passwordThreads.takeResults() {
            self.authenticator.passwordChecked(token: result.token, fits: result.fits, now: self.service.time)
        }
        while !self.authenticator.actions.isEmpty {
            let actions = self.authenticator.actions
            self.authenticator.actions = []
            for action in actions { self.perform(action) }
        }
    }

    private func perform(_ action: Authenticator.Action) {
        switch action {
        case .readCache(let key): self.authenticator.cacheAnswered(key, .notFound, now: self.service.time)
        case .lookUp(let token, let commands, _): self.lookUp(token, commands)
        case .check(let token, let check, let parties): self.passwordThreads.submit(check, token: token, of: parties)
        // It answers at once.
        case .write, .announce: break
        case .answer(let request, let verdict):
            self.service.sourceAnswered(request, self.named(verdict), from: self.index)
        case .reportAccess(let key, let mistake):
            self.service.reportAccess(key, mistake, self.logger)
        }
    }

    /// What the decisions of all sources say of Redis, said of the file.
    private func named(_ verdict: AuthVerdict) -> AuthVerdict {
        var verdict = verdict
        if verdict.source == .redis { verdict.source = .embedded }
        if verdict.reason == .redisUnavailable {
            verdict.reason = .deviceFileUnavailable
            verdict.detail = Array((self.lastProblem ?? "\(self.path): somebody writes it just now").utf8)
        }
        return verdict
    }

    private func lookUp(_ token: UInt64, _ commands: [[[UInt8]]]) {
        let now = self.service.time
        guard let database = self.database, let command = commands.first, command.count > 1 else {
            let reason = self.lastProblem ?? "it is not open"
            return self.authenticator.lookupFailed(token: token, .unavailable(reason), now: now)
        }
        do throws(SQLiteError) {
            let device = try database.device(command[1])
            self.authenticator.lookedUp(token: token, Self.result(device), now: now)
        } catch {
            if !error.isBusy { self.failed(error) }
            self.authenticator.lookupFailed(token: token, .unavailable(error.description), now: now)
        }
    }

    private static func result(_ device: Device?) -> LookupResult {
        guard let device else { return .absent }
        if device.isDisabled { return .disabled }
        return .found(
            CredentialReply(
                secret: device.secret,
                salt: device.salt,
                isSuperuser: device.isSuperuser,
                access: device.access
            )
        )
    }
}
