import CLinux
import Common
import Glibc

/// A connection whose PROXY header is awaited. Not a byte behind the header is taken off the socket.
final class ProxyHeaderReader: EventHandler {
    enum Outcome {
        /// Nil: the address of the connection itself counts.
        case source(ListenAddress?)
        case failed(String)
    }

    let fileDescriptor: Int32
    private let loop: EventLoop
    private var registration: EventLoop.Registration?
    private var timer: EventLoop.Timer?
    private var collected: [UInt8] = []
    private let done: (ProxyHeaderReader, Outcome) -> Void

    /// - Parameter done: called once. The descriptor is the caller's again then.
    init(
        loop: EventLoop,
        fileDescriptor: Int32,
        timeoutNanoseconds: UInt64,
        done: @escaping (ProxyHeaderReader, Outcome) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.fileDescriptor = fileDescriptor
        self.done = done
        self.registration = try loop.register(fileDescriptor, for: .readable, handler: self)
        self.timer = loop.schedule(afterNanoseconds: timeoutNanoseconds) { [unowned self] in
            self.timer = nil
            self.finish(.failed("no PROXY header came in time"))
        }
    }

    func handle(_ events: IOEvents) {
        var peeked = [UInt8](repeating: 0, count: ProxyHeader.bytesMax)
        let count = recv(self.fileDescriptor, &peeked, peeked.count - self.collected.count, Int32(MSG_PEEK))
        guard count != 0 else { return self.finish(.failed("the connection ended before its PROXY header did")) }
        guard count > 0 else {
            if errno != EAGAIN, errno != EINTR {
                self.finish(.failed("the connection broke before its PROXY header came"))
            }
            return
        }
        let all = self.collected + peeked[..<count]
        switch ProxyHeader.decode(all[...]) {
        case .needMore:
            guard all.count < ProxyHeader.bytesMax else { return self.finish(.failed("PROXY header too long")) }
            self.take(count)
            self.collected = all
        case .complete(let bytes, let source):
            self.take(bytes - self.collected.count)
            self.finish(.source(source))
        case .malformed(let problem):
            self.finish(.failed(problem))
        }
    }

    /// Off the socket; they are there.
    private func take(_ count: Int) {
        guard count > 0 else { return }
        var bytes = [UInt8](repeating: 0, count: count)
        _ = recv(self.fileDescriptor, &bytes, count, 0)
    }

    /// Lets go of the descriptor without telling.
    func cancel() {
        if let timer = self.timer { self.loop.cancel(timer) }
        self.timer = nil
        if let registration = self.registration { self.loop.deregister(registration) }
        self.registration = nil
    }

    private func finish(_ outcome: Outcome) {
        guard self.registration != nil else { return }
        self.cancel()
        self.done(self, outcome)
    }
}
