import CLinux
import Common
import Glibc
import TLS

/// A real client of the quick start's device: mutual TLS to the listener, then `SelfTestDialogue`. Tried again until it
/// succeeds or time is up: right after the start a listener may not have found its auth worker yet.
final class SelfTest: EventHandler {
    struct Device {
        var name: String
        var password: String
        var address: ListenAddress
    }

    private static let retryNanoseconds = 200 * Nanoseconds.perMillisecond
    private static let timeoutNanoseconds = 15 * Nanoseconds.perSecond
    private static let attemptNanoseconds = 5 * Nanoseconds.perSecond

    private let loop: EventLoop
    private let device: Device
    private let context: TLSClientContext
    private let completion: (CommandFailure?) -> Void
    private let deadline: Instant
    private var fileDescriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private var connection: TLSConnection?
    private var isEstablished = false
    private var dialogue: SelfTestDialogue
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var attemptTimer: EventLoop.Timer?
    private var isFinished = false

    /// - Parameter completion: called once, with nil after success.
    init(
        loop: EventLoop,
        layout: QuickStartLayout,
        device: Device,
        completion: @escaping (CommandFailure?) -> Void
    ) throws(CommandFailure) {
        self.loop = loop
        self.device = device
        self.completion = completion
        self.deadline = Clock.monotonic() &+ Self.timeoutNanoseconds
        do {
            self.context = try TLSClientContext(
                TLSClientConfiguration(
                    caFile: layout.caCertificate,
                    certificateFile: layout.deviceCertificate,
                    keyFile: layout.deviceKey,
                    serverName: "localhost"
                )
            )
        } catch {
            throw CommandFailure("\(error)")
        }
        self.dialogue = SelfTestDialogue(topic: "", payload: [])
    }

    func start() {
        self.isEstablished = false
        self.input.clear()
        self.output.clear()
        var random = SystemRandomNumberGenerator()
        let payload = Array("hello \(UInt64.random(in: 0...UInt64.max, using: &random))".utf8)
        self.dialogue = SelfTestDialogue(topic: "devices/\(self.device.name)/hello", payload: payload)
        let family = self.device.address.isIPv6 ? AF_INET6 : AF_INET
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        self.fileDescriptor = socket(family, type, 0)
        guard self.fileDescriptor >= 0 else { return self.failed("socket: \(Configuration.describe(errno))") }
        let result = self.device.address.withSocketAddress { connect(self.fileDescriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS else {
            return self.failed("\(self.device.address): \(Configuration.describe(errno))")
        }
        self.connection = self.context.makeConnection(fileDescriptor: self.fileDescriptor)
        do {
            self.registration = try self.loop.register(self.fileDescriptor, for: [.readable, .writable], handler: self)
        } catch {
            return self.failed("\(error)")
        }
        self.attemptTimer = self.loop.schedule(afterNanoseconds: Self.attemptNanoseconds) { [weak self] in
            self?.failed("no answer")
        }
    }

    func handle(_ events: IOEvents) {
        guard let connection = self.connection else { return }
        if !self.isEstablished {
            var code: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(self.fileDescriptor, SOL_SOCKET, SO_ERROR, &code, &length)
            guard code == 0 else { return self.failed("\(self.device.address): \(Configuration.describe(code))") }
            switch connection.handshake() {
            case .done:
                self.isEstablished = true
                self.output.write(
                    self.dialogue.begin(
                        clientIdentifier: "martlet-quick-start",
                        userName: self.device.name,
                        password: self.device.password
                    )
                )
            case .wantsRead: return self.wait(forWriting: false)
            case .wantsWrite: return self.wait(forWriting: true)
            case .failed(let failure): return self.failed("TLS: \(failure)")
            }
        }
        self.read(connection)
        self.flush()
    }

    private func wait(forWriting: Bool) {
        guard let registration = self.registration else { return }
        self.loop.modify(registration, for: forWriting ? [.readable, .writable] : .readable)
    }

    private func read(_ connection: TLSConnection) {
        while self.registration != nil {
            switch connection.read(into: self.input.writable(minimum: 4096)) {
            case .bytes(let count):
                self.input.commit(count)
                self.takePackets()
            case .wantsRead, .wantsWrite: return
            case .closed: return self.failed("the listener closed the connection")
            case .failed(let failure): return self.failed("TLS: \(failure)")
            }
        }
    }

    private func takePackets() {
        while self.registration != nil {
            switch FixedHeader.decode(self.input.readable) {
            case .needMore: return
            case .malformed(let error): return self.failed("a broken packet came: \(error)")
            case .header(let header):
                guard self.input.readableBytes >= header.packetBytes else { return }
                let bytes = UnsafeRawBufferPointer(rebasing: self.input.readable[..<header.packetBytes])
                let step: SelfTestDialogue.Step
                do throws(DecodeError) {
                    step = self.dialogue.receive(try Packet.decode(bytes, header: header, version: .v5_0))
                } catch {
                    return self.failed("a broken packet came: \(error)")
                }
                self.input.consume(header.packetBytes)
                self.take(step)
            }
        }
    }

    private func take(_ step: SelfTestDialogue.Step) {
        switch step {
        case .wait: break
        case .send(let bytes): self.output.write(bytes)
        case .failed(let reason): self.failed(reason)
        case .done(let bytes):
            self.output.write(bytes)
            self.flush()
            self.connection?.shutdown()
            self.finish(nil)
        }
    }

    private func flush() {
        while let connection = self.connection, !self.output.isEmpty {
            switch connection.write(self.output.readable) {
            case .bytes(let count): self.output.consume(count)
            case .wantsRead, .wantsWrite: return self.wait(forWriting: true)
            case .closed: return self.failed("the listener closed the connection")
            case .failed(let failure): return self.failed("TLS: \(failure)")
            }
        }
        self.wait(forWriting: false)
    }

    // MARK: Ends

    private func failed(_ reason: String) {
        guard !self.isFinished else { return }
        self.close()
        guard Clock.monotonic() < self.deadline else {
            return self.finish(CommandFailure("the quick start's own client could not connect and publish: \(reason)"))
        }
        self.attemptTimer = self.loop.schedule(afterNanoseconds: Self.retryNanoseconds) { [weak self] in self?.start() }
    }

    private func finish(_ failure: CommandFailure?) {
        guard !self.isFinished else { return }
        self.isFinished = true
        self.close()
        self.completion(failure)
    }

    /// Ends it without calling the completion.
    func cancel() {
        self.isFinished = true
        self.close()
    }

    private func close() {
        if let timer = self.attemptTimer { self.loop.cancel(timer) }
        self.attemptTimer = nil
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
        self.connection = nil
        if self.fileDescriptor >= 0 { Glibc.close(self.fileDescriptor) }
        self.fileDescriptor = -1
    }
}
