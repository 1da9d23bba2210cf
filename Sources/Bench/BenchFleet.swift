import Common
import Glibc
import TLS

/// All clients of a run, on one thread.
final class BenchFleet {
    let options: BenchOptions
    let loop: EventLoop
    let address: ListenAddress
    let receiveBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
    /// Clients whose output is to be sent at the end of the turn.
    var dirty: [BenchClient] = []
    private var contexts: [Int: TLSClientContext] = [:]
    private let say: (String) -> Void
    private var lastSaid: Instant = 0
    private let wantsEnd: () -> Bool
    /// When what is left to be done then must be done; nil: nobody has ended the run.
    private var lastMoment: Instant?
    var isInterrupted: Bool { self.lastMoment != nil }
    /// Messages are waited for until none has come for so long.
    var quietNanoseconds: UInt64 { UInt64(self.options.quietSeconds) * Nanoseconds.perSecond }
    private static let cleaningNanoseconds = 30 * Nanoseconds.perSecond

    /// - Parameters:
    ///   - wantsEnd: whether somebody wants the run to end, asked all the time.
    ///   - say: shows a line of progress.
    init(
        _ options: BenchOptions,
        wantsEnd: @escaping () -> Bool = { false },
        say: @escaping (String) -> Void
    ) throws {
        self.options = options
        self.wantsEnd = wantsEnd
        self.loop = try EventLoop()
        self.say = say
        self.address = try Self.resolve(options.host, options.port)
        self.loop.atEndOfTurn { [unowned self] in self.flush() }
    }

    deinit {
        self.receiveBuffer.deallocate()
    }

    private static func resolve(_ host: String, _ port: UInt16) throws -> ListenAddress {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0, let first = list else { throw BenchFailure("\(host): \(String(cString: gai_strerror(code)))") }
        defer { freeaddrinfo(list) }
        var storage = sockaddr_storage()
        withUnsafeMutableBytes(of: &storage) {
            $0.copyMemory(
                from: UnsafeRawBufferPointer(start: first.pointee.ai_addr, count: Int(first.pointee.ai_addrlen))
            )
        }
        guard let address = SocketAddress(storage).listenAddress else {
            throw BenchFailure("\(host) has no IP address")
        }
        return address
    }

    /// Reads the files of so many clients, which is no part of what is measured.
    func prepareTLS(_ clients: Int) throws {
        guard self.options.usesTLS else { return }
        for number in 0..<min(clients, max(1, self.options.certificateCount)) { _ = try self.tlsContext(number) }
    }

    /// The settings of one client's TLS; clients with one certificate share them.
    func tlsContext(_ number: Int) throws -> TLSClientContext {
        let index = self.options.certificatePattern == nil ? 0 : number % max(1, self.options.certificateCount)
        if let context = self.contexts[index] { return context }
        let certificate = self.options.certificatePattern.map { BenchOptions.fill($0, index) }
        let context = try TLSClientContext(
            TLSClientConfiguration(
                caFile: self.options.caFile,
                certificateFile: certificate ?? self.options.certificateFile,
                keyFile: self.options.keyFile,
                verifyPeer: self.options.verifiesServer
            )
        )
        self.contexts[index] = context
        return context
    }

    /// - Parameter cleanStart: false: takes up its session, which then also outlives the connection.
    func connectPacket(_ client: BenchClient, cleanStart: Bool = true, keepsSession: Bool = false) -> ConnectPacket {
        var properties = Properties()
        if self.options.version == .v5_0 {
            properties.receiveMaximum = UInt16.max
            if keepsSession { properties.sessionExpiryInterval = 3600 }
        }
        let text = BenchOptions.fill(self.options.clientIdentifierPattern, client.number)
        return ConnectPacket(
            version: self.options.version,
            cleanStart: self.options.version == .v5_0 ? cleanStart : !keepsSession,
            keepAliveSeconds: 600,
            clientIdentifier: Array(text.utf8),
            userName: self.options.userNamePattern.map { Array(BenchOptions.fill($0, client.number).utf8) },
            password: self.options.password.map { Array($0.utf8) },
            properties: properties
        )
    }

    private func flush() {
        // A write that fails ends a client, and its end may make another one dirty.
        while !self.dirty.isEmpty {
            let clients = self.dirty
            self.dirty.removeAll(keepingCapacity: true)
            for client in clients { client.flush() }
        }
    }

    // MARK: Time

    /// For ever, for what is bounded otherwise.
    private static let secondsMax = 1e9

    /// Turns the loop until the condition holds.
    ///
    /// Who wants the run to end ends what is waited for; what comes after it has `cleaningNanoseconds` in all.
    /// - Returns: false when the time is over, or the run was ended.
    @discardableResult
    func run(seconds: Double, progress: () -> String? = { nil }, until condition: () -> Bool) throws -> Bool {
        let deadline = min(Clock.monotonic() + UInt64(min(seconds, Self.secondsMax) * 1e9), self.lastMoment ?? .max)
        while !condition() {
            let now = Clock.monotonic()
            guard now < deadline else { return false }
            if self.lastMoment == nil, self.wantsEnd() {
                self.lastMoment = now + Self.cleaningNanoseconds
                return false
            }
            // What the condition wrote must not wait for an event.
            self.flush()
            try self.loop.turn(maximumWaitNanoseconds: min(deadline - now, 50 * Nanoseconds.perMillisecond))
            if now &- self.lastSaid >= Nanoseconds.perSecond, let text = progress() {
                self.lastSaid = now
                self.say(text)
            }
        }
        return true
    }
}
