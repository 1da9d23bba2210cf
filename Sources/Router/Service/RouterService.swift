import Common
import Glibc
import Logging
import RouterStore

/// The router: sessions, subscriptions, retained messages, queues; all that MQTT says about them.
///
/// - Talks to: listeners over a Unix socket, the tool over its control socket.
/// - Holds: sessions and messages in memory and in its store. No TLS key, no Redis password, no internet socket.
/// - When killed: listeners keep their clients' connections for the next one; what was acknowledged is in the store.
/// - An attacker who owns it can: read and forge messages. Not: impersonate the server or a device, or reach Redis.
package final class RouterService: Role, LinkDelegate {
    let context: RoleContext
    let loop: EventLoop
    let logger: Logger
    var core: RouterCore
    private var server: LinkServer?
    /// By the core's number of the link.
    private var links: [Int: Link] = [:]
    private var handOvers: [Int: HandOver] = [:]
    private var stopping = Stopping.no
    private var timer: (deadline: Instant, timer: EventLoop.Timer)?
    private var continues: EventLoop.Timer?
    private let hello: LinkHello
    private var store: StoreWriter?
    private var storeWaker: Waker?
    private var storeClock: StoreClock?
    /// Commits fail; since then.
    private var storeTrouble: String?
    /// How often the store's files had been removed and were written anew, as far as the log says.
    private var storeRewrites: UInt64 = 0
    private var packetFiles: UnfinishedPacketFiles?
    private var linkLog = ErrorLogLimiter(linesMax: 20)
    private var packetLog = ErrorLogLimiter(linesMax: 1)
    private var matchLog = ErrorLogLimiter(linesMax: 1)
    var denialLog = ErrorLogLimiter(linesMax: 20)

    /// How long listeners have to send what they have.
    private static let stopNanoseconds = 2 * Nanoseconds.perSecond

    private enum Stopping {
        case no
        case waitingForListeners
        case committing
        case done
    }

    /// - Parameters: as of `RouterCore`.
    package init(
        _ context: RoleContext,
        packetPartBytes: Int = Limits.packetPartBytes,
        workPerTurn: UInt64 = RouterLimits.workPerTurn
    ) {
        self.context = context
        self.loop = context.loop
        self.logger = context.logger
        let configuration = context.configuration
        self.core = RouterCore(
            configuration: configuration,
            seed: UInt64.random(in: 0...UInt64.max),
            packetPartBytes: packetPartBytes,
            workPerTurn: workPerTurn
        )
        self.hello = LinkHello(
            role: .router,
            bootID: RoleProcess.makeBootID(),
            name: Array(context.name.utf8),
            sessionCreditBytes: UInt32(clamping: configuration.flowControl.sessionCreditBytes),
            linkCreditBytes: UInt32(clamping: configuration.flowControl.linkCreditBytes)
        )
    }

    package func start() throws {
        try self.openStore()
        self.server = try LinkServer(
            loop: self.loop,
            path: self.context.configuration.routerSocketPath,
            allowedUsers: self.context.configuration.linkUsers,
            hello: self.hello,
            expectedRoles: [.listener],
            logger: self.logger,
            delegate: self
        )
        self.loop.atEndOfTurn { [unowned self] in self.endOfTurn() }
    }

    /// Listeners keep their connections for the next router. They are told, so that everything that is on its way is answered and
    /// stored, and nothing has to be sent again. One that has our hello sends acknowledgements at once, whether or not we have its own.
    package func stop() {
        // It still passes on what comes through the links.
        self.server?.stopAccepting()
        guard self.store != nil, !self.links.isEmpty || self.isGreeting else { return self.stopAtOnce() }
        self.core.announceStop()
        self.stopping = .waitingForListeners
        self.loop.schedule(afterNanoseconds: Self.stopNanoseconds) { [weak self] in self?.stopAtOnce() }
    }

    private var isGreeting: Bool { self.server?.isGreeting ?? false }

    /// To be called at the end of a turn.
    private func continueStopping() {
        if self.stopping == .waitingForListeners, !self.isGreeting, self.core.isReadyToStop {
            self.stopping = .committing
            self.core.recordForRestart()
            self.handOverChanges()
        }
        guard self.stopping == .committing, self.core.uncommittedBytes == 0,
            !self.links.contains(where: { self.core.hasOutput($0.key) || !$0.value.output.isEmpty })
        else { return }
        // What was sent since.
        self.core.recordForRestart()
        if self.core.uncommittedBytes > 0 { return self.handOverChanges() }
        self.stopAtOnce()
    }

    package func stopAtOnce() {
        guard self.stopping != .done else { return }
        self.stopping = .done
        self.server?.close()
        self.server = nil
        // Listeners that did not say in time that they have sent everything hold messages too.
        if self.store != nil { self.core.recordForRestart() }
        // What clients were promised leaves before the links close.
        self.handOverChanges()
        self.store?.stop()
        self.takeProgress()
        if let trouble = self.storeTrouble {
            self.logger.error(
                "stopped while the store cannot be written: what changed since is lost",
                metadata: ["reason": "\(trouble)"]
            )
        }
        self.flushAll()
        for link in self.links.values { link.close() }
        self.links.removeAll()
        self.loop.stop()
    }

    package func status() -> StatusReport {
        var report = StatusReport()
        report.add("links", self.core.linkCount)
        report.add("sessions", self.core.sessionCount)
        report.add("sessions_connected", self.core.connectedCount)
        report.add("subscriptions", self.core.subscriptionCount)
        report.add("retained_messages", self.core.retainedCount)
        report.add("retained_bytes", self.core.retainedBytes)
        report.add("queued_messages", self.core.queuedMessages)
        report.add("queued_bytes", self.core.queuedBytesTotal)
        report.add("heap_bytes", HeapUsage.bytes)
        for line in self.core.counters.lines { report.add(line.name, line.value) }
        if let progress = self.store?.progress {
            report.add("store_transactions", progress.transactions)
            report.add("store_folds", progress.folds)
            report.add("store_failures", progress.failures)
            report.add("store_rewrites", progress.rewrites)
            report.add("store_waiting_bytes", self.core.uncommittedBytes)
            report.add("alarm_store", progress.trouble == nil ? 0 : 1)
            report.add("packets_not_kept", self.packetFiles?.failures ?? 0)
        }
        if let problem = self.server?.problem { report.add("alarm", "listeners cannot connect: \(problem)") }
        return report
    }

    // MARK: The store

    /// Takes over what the last router left, before anybody can connect.
    private func openStore() throws {
        let configuration = self.context.configuration
        guard configuration.durability != .memory else { return }
        let path = configuration.routerStorePath
        for directory in [configuration.stateDirectory, configuration.routerStoreDirectory] {
            guard mkdir(directory, 0o750) == 0 || errno == EEXIST else {
                throw StoreError(
                    "state_directory: cannot create \(directory): \(String(cString: strerror(errno))); "
                        + "`durability: memory` needs none"
                )
            }
        }
        if FileStamp(path)?.bytes == 0 {
            self.logger.error(
                "the store is an empty file, and a new one begins; `martlet store restore` puts a backup in its place",
                metadata: ["file": "\(path)"]
            )
        }
        let file = try StoreFile(path: path, survivesPowerLoss: configuration.durability == .disk)
        let began = Clock.monotonic()
        self.core.startStamp = Clock.bootTime()
        let clock = StoreClock(path: configuration.routerStoreDirectory + "/clock")
        if let problem = clock.problem {
            self.logger.warning("sessions' times are the wall clock's", metadata: ["reason": "\(problem)"])
        }
        self.storeClock = clock
        self.setOffsets(clock)
        try self.core.restore(from: file, now: Clock.monotonic())
        if self.core.ownerlessEntries > 0 {
            self.logger.warning(
                "entries of the store were of sessions that are not there, and were taken out",
                metadata: ["entries": "\(self.core.ownerlessEntries)"]
            )
        }
        let milliseconds = (Clock.monotonic() &- began) / Nanoseconds.perMillisecond
        self.logger.notice(
            "state restored",
            metadata: [
                "sessions": "\(self.core.sessionCount)", "subscriptions": "\(self.core.subscriptionCount)",
                "queued_messages": "\(self.core.queuedMessages)", "retained_messages": "\(self.core.retainedCount)",
                "milliseconds": "\(milliseconds)",
            ]
        )
        self.openPacketFiles()
        let waker = try Waker(loop: self.loop) { [unowned self] in self.takeProgress() }
        let store = StoreWriter(file: file, waker: waker.handle)
        try store.start()
        self.storeWaker = waker
        self.store = store
    }

    /// Without them clients that are in the middle of a large packet lose their connections when the router ends.
    private func openPacketFiles() {
        do {
            let files = try UnfinishedPacketFiles(directory: self.context.configuration.routerPacketsDirectory)
            self.core.restorePackets(try files.load(), now: Clock.monotonic())
            self.packetFiles = files
        } catch {
            self.logger.warning(
                "large QoS 0 packets that are under way will not survive this router",
                metadata: ["reason": "\(error)"]
            )
        }
    }

    /// Before anything of such a packet leaves.
    private func keepPackets() {
        let changes = self.core.takePacketChanges()
        guard !changes.isEmpty, let problem = self.packetFiles?.perform(changes) else { return }
        self.core.packetsAreNotKept()
        guard self.packetLog.admit(now: self.loop.now) != nil else { return }
        self.logger.warning(
            "a large packet begins that will not survive this router",
            metadata: ["reason": "\(problem)"]
        )
    }

    private func handOverChanges() {
        guard let store = self.store else { return }
        // Another one after the host was suspended.
        if let clock = self.storeClock { self.setOffsets(clock) }
        if let (group, records) = self.core.takeChanges() { store.append(group, records) }
    }

    private func setOffsets(_ clock: StoreClock) {
        let offset = clock.monotonicOffset
        self.core.storeOffset = offset
        self.core.bootOffset = offset &- clock.offset
    }

    private func takeProgress() {
        guard let progress = self.store?.progress else { return }
        if progress.trouble != self.storeTrouble {
            if let trouble = progress.trouble {
                self.logger.error(
                    "cannot store; QoS 1 and 2 messages are refused until it works",
                    metadata: ["reason": "\(trouble)"]
                )
            } else {
                self.logger.notice("the store works again")
            }
            self.storeTrouble = progress.trouble
            self.core.storeIsInTrouble(progress.trouble != nil)
        }
        if progress.rewrites != self.storeRewrites {
            self.storeRewrites = progress.rewrites
            self.logger.error(
                "files of the store were removed while it was in use; they are there again, with everything in them",
                metadata: ["reason": "\(progress.lastLoss)"]
            )
            if let problem = self.storeClock?.keep() {
                self.logger.warning(
                    "sessions' times will be the wall clock's after a restart",
                    metadata: ["reason": "\(problem)"]
                )
            }
        }
        self.core.committed(upTo: progress.committed, now: self.loop.now)
    }

    // MARK: Links

    package func linkUp(_ link: Link, peer: LinkHello) {
        link.index = self.core.linkUp(peer: peer, now: self.loop.now)
        self.links[link.index] = link
        self.handOvers[link.index] = HandOver()
        // What credit allows, and as much again of what needs none: further a peer that reads does not come.
        link.outputBytesMax = 2 * self.context.configuration.flowControl.linkCreditBytes + Limits.linkControlBytesMax
        self.log(.info, "listener connected", link)
        if self.stopping == .waitingForListeners { self.core.announceStop(to: link.index) }
    }

    package func link(_ link: Link, received frame: Frame) {
        guard let problem = self.core.received(frame, on: link.index, now: self.loop.now) else { return }
        self.log(.error, "link closed: \(problem)", link)
        link.close()
        self.server?.forget(link)
        self.forget(link)
    }

    package func linkFinishedReading(_ link: Link) {}

    package func linkDown(_ link: Link, reason: String) {
        self.log(.notice, "listener lost: \(reason)", link)
        self.forget(link)
    }

    private func forget(_ link: Link) {
        guard self.links[link.index] === link else { return }
        self.links[link.index] = nil
        self.handOvers[link.index] = nil
        self.core.linkDown(link.index, now: self.loop.now)
    }

    /// A few lines in ten seconds: a peer that comes back in a loop must not fill the disk.
    private func log(_ level: Logger.Level, _ text: String, _ link: Link) {
        guard let leftOut = self.linkLog.admit(now: self.loop.now) else { return }
        var metadata = Self.metadata(link)
        if leftOut > 0 { metadata["not_logged_before"] = "\(leftOut)" }
        self.logger.log(level: level, "\(text)", metadata: metadata)
    }

    private static func metadata(_ link: Link) -> Logger.Metadata {
        let name = link.peer.map { String(decoding: $0.name, as: UTF8.self) } ?? ""
        return ["listener": "\(name)", "peer": "\(link.peerDescription)"]
    }

    // MARK: Turns

    /// One write per link, and a timer for what comes due: without either, an idle router sleeps.
    private func endOfTurn() {
        self.core.endTurn(now: self.loop.now)
        if let client = self.core.takeBeyondMatch() { self.logBeyondMatch(client) }
        if self.core.denials.hasLines { self.logDenials() }
        self.handOverChanges()
        self.flushAll()
        if self.core.waitsForHandOver {
            self.core.releaseHeld()
            self.handOverChanges()
            self.flushAll()
        }
        if self.stopping != .no { self.continueStopping() }
        self.scheduleDeadline()
        if self.core.hasWork, self.continues == nil {
            self.continues = self.loop.schedule(at: self.loop.now) { [unowned self] in self.continues = nil }
        }
    }

    private func logBeyondMatch(_ client: [UInt8]) {
        guard let leftOut = self.matchLog.admit(now: self.loop.now) else { return }
        var metadata: Logger.Metadata = ["client": "\(String(decoding: client, as: UTF8.self))"]
        if leftOut > 0 { metadata["not_logged_before"] = "\(leftOut)" }
        self.logger.warning(
            "messages are refused: too many filters match the beginning of their topic",
            metadata: metadata
        )
    }

    private func flushAll() {
        self.keepPackets()
        for (index, link) in self.links {
            if self.core.hasOutput(index) {
                let before = link.output.readableBytes
                self.core.takeOutput(of: index, into: &link.output)
                self.handOvers[index]?.wrote(link.output.readableBytes - before)
                link.flush()
            }
            if let turn = self.handOvers[index]?.turnHandedOver(
                core: self.core.turn,
                waitingBytes: link.output.readableBytes
            ) {
                self.core.handedOver(index, turn: turn)
            }
        }
    }

    private func scheduleDeadline() {
        let deadline = self.core.nextDeadline
        guard deadline != self.timer?.deadline else { return }
        if let timer = self.timer { self.loop.cancel(timer.timer) }
        self.timer = deadline.map { deadline in
            let timer = self.loop.schedule(at: deadline) { [unowned self] in
                self.timer = nil
                self.core.timePassed(now: self.loop.now)
            }
            return (deadline, timer)
        }
    }
}
