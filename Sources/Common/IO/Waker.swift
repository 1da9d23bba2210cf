import CLinux
import Glibc

/// Wakes an event loop from another thread (eventfd(2)): helper threads put their result into a queue, then call `wake`.
public final class Waker: EventHandler {
    /// The half that other threads hold.
    public struct Handle: Sendable {
        fileprivate let fileDescriptor: Int32

        /// Any number of calls before the loop's next turn wake it once.
        public func wake() {
            var one: UInt64 = 1
            _ = write(self.fileDescriptor, &one, MemoryLayout<UInt64>.size)
        }
    }

    public let handle: Handle
    private let loop: EventLoop
    private let action: () -> Void
    private var registration: EventLoop.Registration?

    /// `action` runs on the loop's thread.
    public init(loop: EventLoop, _ action: @escaping () -> Void) throws(SystemError) {
        let fileDescriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard fileDescriptor >= 0 else { throw SystemError("eventfd") }
        self.handle = Handle(fileDescriptor: fileDescriptor)
        self.loop = loop
        self.action = action
        self.registration = try loop.register(fileDescriptor, for: .readable, handler: self)
    }

    deinit {
        if self.registration != nil { close(self.handle.fileDescriptor) }
    }

    /// To be called when no other thread uses the handle any more.
    public func invalidate() {
        guard let registration = self.registration else { return }
        self.registration = nil
        self.loop.deregister(registration)
        close(self.handle.fileDescriptor)
    }

    public func handle(_ events: IOEvents) {
        var count: UInt64 = 0
        _ = read(self.handle.fileDescriptor, &count, MemoryLayout<UInt64>.size)
        self.action()
    }
}
