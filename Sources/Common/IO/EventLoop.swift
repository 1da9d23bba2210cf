import CLinux
import Glibc

/// What epoll reports for a descriptor.
public struct IOEvents: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = IOEvents(rawValue: UInt32(EPOLLIN.rawValue))
    public static let writable = IOEvents(rawValue: UInt32(EPOLLOUT.rawValue))
    public static let error = IOEvents(rawValue: UInt32(EPOLLERR.rawValue))
    public static let hangUp = IOEvents(rawValue: UInt32(EPOLLHUP.rawValue))
    /// Of several processes that wait on one listening socket, wake one (epoll_ctl(2)).
    public static let exclusive = IOEvents(rawValue: UInt32(EPOLLEXCLUSIVE.rawValue))
}

public protocol EventHandler: AnyObject {
    func handle(_ events: IOEvents)
}

/// The one thread of a process: epoll, timers, and work at the end of each turn.
///
/// A turn is: wait, hand every ready descriptor to its handler, run the timers that are due, then the end-of-turn work, in
/// which each role flushes what it collected: one write per peer and turn.
public final class EventLoop {
    /// Names a registration; stale ones are recognised.
    public struct Registration: Equatable, Sendable {
        fileprivate var slot: UInt32
        fileprivate var generation: UInt32
    }

    public struct Timer: Equatable, Sendable {
        fileprivate var sequence: UInt64
    }

    private struct Slot {
        var handler: (any EventHandler)?
        var fileDescriptor: Int32
        var generation: UInt32
    }

    private static let lateNanoseconds = 20 * Nanoseconds.perMillisecond

    /// Read once per turn, after the wait.
    public private(set) var now: Instant
    /// Runs at the end of every turn, in the order in which it was added.
    private var endOfTurn: [() -> Void] = []
    private let epoll: Int32
    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    private var timers = TimerHeap()
    private var timerActions: [UInt64: () -> Void] = [:]
    private var nextTimer: UInt64 = 0
    private var dueTimers: [UInt64] = []
    /// `stop` was called since `run` began.
    public private(set) var isStopped = false
    private let ready: UnsafeMutableBufferPointer<epoll_event>

    public init() throws(SystemError) {
        self.epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard self.epoll >= 0 else { throw SystemError("epoll_create1") }
        self.now = Clock.monotonic()
        self.ready = .allocate(capacity: 512)
        self.ready.initialize(repeating: epoll_event())
    }

    deinit {
        close(self.epoll)
        self.ready.deallocate()
    }

    // MARK: Descriptors

    /// Level-triggered. The handler is kept until `deregister`; the descriptor stays the caller's.
    public func register(
        _ fileDescriptor: Int32,
        for events: IOEvents,
        handler: any EventHandler
    ) throws(SystemError) -> Registration {
        let slot: UInt32
        if let free = self.freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(truncatingIfNeeded: self.slots.count)
            self.slots.append(Slot(handler: nil, fileDescriptor: -1, generation: 0))
        }
        let registration = Registration(slot: slot, generation: self.slots[Int(slot)].generation)
        var event = martlet_epoll_event(events.rawValue, Self.pack(registration))
        guard epoll_ctl(self.epoll, EPOLL_CTL_ADD, fileDescriptor, &event) == 0 else {
            self.freeSlots.append(slot)
            throw SystemError("epoll_ctl")
        }
        self.slots[Int(slot)].handler = handler
        self.slots[Int(slot)].fileDescriptor = fileDescriptor
        return registration
    }

    public func modify(_ registration: Registration, for events: IOEvents) {
        guard self.isCurrent(registration) else { return }
        var event = martlet_epoll_event(events.rawValue, Self.pack(registration))
        let result = epoll_ctl(self.epoll, EPOLL_CTL_MOD, self.slots[Int(registration.slot)].fileDescriptor, &event)
        precondition(result == 0, "epoll_ctl(MOD) of a registered descriptor failed")
    }

    /// To be called before the descriptor is closed.
    public func deregister(_ registration: Registration) {
        guard self.isCurrent(registration) else { return }
        let index = Int(registration.slot)
        var event = epoll_event()
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.slots[index].fileDescriptor, &event)
        self.slots[index].handler = nil
        self.slots[index].fileDescriptor = -1
        self.slots[index].generation &+= 1
        self.freeSlots.append(registration.slot)
    }

    private func isCurrent(_ registration: Registration) -> Bool {
        Int(registration.slot) < self.slots.count
            && self.slots[Int(registration.slot)].generation == registration.generation
            && self.slots[Int(registration.slot)].handler != nil
    }

    private static func pack(_ registration: Registration) -> UInt64 {
        UInt64(registration.generation) << 32 | UInt64(registration.slot)
    }

    // MARK: Timers

    @discardableResult
    public func schedule(at deadline: Instant, _ action: @escaping () -> Void) -> Timer {
        self.nextTimer += 1
        self.timers.insert(deadline: deadline, sequence: self.nextTimer)
        self.timerActions[self.nextTimer] = action
        return Timer(sequence: self.nextTimer)
    }

    @discardableResult
    public func schedule(afterNanoseconds delay: UInt64, _ action: @escaping () -> Void) -> Timer {
        self.schedule(at: Clock.monotonic() &+ delay, action)
    }

    public func cancel(_ timer: Timer) {
        guard self.timerActions.removeValue(forKey: timer.sequence) != nil else { return }
        self.timers.remove(sequence: timer.sequence)
    }

    // MARK: Running

    public func atEndOfTurn(_ work: @escaping () -> Void) {
        self.endOfTurn.append(work)
    }

    /// Ends `run` after the current turn.
    public func stop() {
        self.isStopped = true
    }

    /// Lets go of everything that was given to it: handlers and actions refer to what refers to the loop. For those whose process
    /// lives on.
    public func tearDown() {
        // What ends with them may call the loop.
        let ending = (self.slots, self.timerActions, self.endOfTurn)
        self.slots = []
        self.freeSlots = []
        self.timers = TimerHeap()
        self.timerActions = [:]
        self.endOfTurn = []
        withExtendedLifetime(ending) {}
    }

    public func run() throws(SystemError) {
        self.isStopped = false
        while !self.isStopped {
            try self.turn(maximumWaitNanoseconds: nil)
        }
    }

    /// One turn; waits for at most `maximumWaitNanoseconds` (nil: until something happens).
    public func turn(maximumWaitNanoseconds: UInt64?) throws(SystemError) {
        var wait: UInt64? = maximumWaitNanoseconds
        if let deadline = self.timers.earliest {
            let now = Clock.monotonic()
            let untilTimer = deadline > now ? deadline - now : 0
            wait = min(untilTimer, wait ?? UInt64.max)
        }
        var timeout: Int32 = -1
        if let wait {
            let roundedUp = wait / Nanoseconds.perMillisecond + (wait % Nanoseconds.perMillisecond == 0 ? 0 : 1)
            timeout = Int32(clamping: roundedUp)
        }
        let count = try self.wait(milliseconds: timeout)
        self.now = Clock.monotonic()
        for index in 0..<count {
            let data = martlet_epoll_data(&self.ready[index])
            let slot = Int(truncatingIfNeeded: data & 0xFFFF_FFFF)
            // An earlier handler of this turn may have taken this registration away.
            guard self.slots[slot].generation == UInt32(truncatingIfNeeded: data >> 32),
                let handler = self.slots[slot].handler
            else { continue }
            handler.handle(IOEvents(rawValue: martlet_epoll_events(&self.ready[index])))
        }
        self.runTimers()
        for work in self.endOfTurn { work() }
    }

    /// How many descriptors are ready. A process that was stopped comes back with EINTR (signal(7)), one that did not get the processor
    /// with what there was before: what has come meanwhile is to be read before a timer says that nothing came.
    private func wait(milliseconds: Int32) throws(SystemError) -> Int {
        let begun = Clock.monotonic()
        let count = try self.poll(milliseconds: milliseconds)
        guard count <= 0 else { return count }
        let due = begun &+ UInt64(max(0, milliseconds)) * Nanoseconds.perMillisecond
        let isLate = milliseconds >= 0 && Clock.monotonic() >= due &+ Self.lateNanoseconds
        return count < 0 || isLate ? max(0, try self.poll(milliseconds: 0)) : 0
    }

    /// -1: interrupted.
    private func poll(milliseconds: Int32) throws(SystemError) -> Int {
        let count = epoll_wait(self.epoll, self.ready.baseAddress, Int32(self.ready.count), milliseconds)
        if count < 0 && errno != EINTR { throw SystemError("epoll_wait") }
        return Int(count)
    }

    private func runTimers() {
        // Those that are due are taken out first: a timer that an action schedules for now waits for the next turn, so that none
        // can keep the loop for itself.
        while let deadline = self.timers.earliest, deadline <= self.now {
            self.dueTimers.append(self.timers.removeEarliest())
        }
        for sequence in self.dueTimers { self.timerActions.removeValue(forKey: sequence)?() }
        self.dueTimers.removeAll(keepingCapacity: true)
    }
}
