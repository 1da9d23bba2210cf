import Glibc

/// A queue of bytes in one block of memory: written at the end, consumed from the front, grown on demand.
///
/// ```
///  base          head                    tail              capacity
///   |  consumed   |   readable bytes      |   free space    |
/// ```
///
/// It holds no memory while it is empty and was told to `releaseIfEmpty`, so that an idle connection costs nothing. It has no
/// bound of its own: whoever appends checks `readableBytes` against a limit from `Limits`.
public struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer?
    @usableFromInline var head = 0
    @usableFromInline var tail = 0
    /// Bytes of memory held.
    public internal(set) var capacity = 0

    public init() {}

    public init(capacity: Int) {
        self.reserve(capacity)
    }

    deinit {
        self.base?.deallocate()
    }

    /// Bytes that were written and not consumed yet.
    @inlinable public var readableBytes: Int { self.tail - self.head }

    @inlinable public var isEmpty: Bool { self.tail == self.head }

    /// The bytes to read. Valid until the next mutation.
    @inlinable public var readable: UnsafeRawBufferPointer {
        guard let base = self.base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + self.head, count: self.tail - self.head)
    }

    /// The bytes to read, open for patching. Valid until the next mutation.
    @inlinable public var mutableReadable: UnsafeMutableRawBufferPointer {
        guard let base = self.base else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: base + self.head, count: self.tail - self.head)
    }

    /// A copy of the bytes to read.
    public var array: [UInt8] { [UInt8](self.readable) }

    /// Drops `count` bytes from the front.
    @inlinable public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.readableBytes, "consumed more bytes than there are")
        self.head += count
        if self.head == self.tail {
            self.head = 0
            self.tail = 0
        }
    }

    @inlinable public mutating func clear() {
        self.head = 0
        self.tail = 0
    }

    /// Gives the memory back if nothing is in it.
    public mutating func releaseIfEmpty() {
        guard self.isEmpty, let base = self.base else { return }
        base.deallocate()
        self.base = nil
        self.capacity = 0
        self.head = 0
        self.tail = 0
    }

    /// Overwrites the readable bytes with zeros and drops them: for passwords.
    public mutating func wipe() {
        if let base = self.base { explicit_bzero(base, self.capacity) }
        self.clear()
    }

    /// Makes room for `count` more bytes and returns it; `commit` says how many were written.
    @inlinable public mutating func writable(minimum count: Int) -> UnsafeMutableRawBufferPointer {
        self.reserve(count)
        guard let base = self.base else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: base + self.tail, count: self.capacity - self.tail)
    }

    @inlinable public mutating func commit(_ count: Int) {
        precondition(count >= 0 && self.tail + count <= self.capacity, "committed more bytes than were reserved")
        self.tail += count
    }

    /// Takes back the last `count` bytes written.
    @inlinable public mutating func removeLast(_ count: Int) {
        precondition(count >= 0 && count <= self.readableBytes, "removed more bytes than there are")
        self.tail -= count
    }

    /// Drops bytes from the middle.
    public mutating func remove(_ range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= self.readableBytes,
            "removed bytes that are not there"
        )
        guard let base = self.base, !range.isEmpty else { return }
        let start = base + self.head
        memmove(start + range.lowerBound, start + range.upperBound, self.readableBytes - range.upperBound)
        self.tail -= range.count
        if self.head == self.tail { self.clear() }
    }

    /// Makes sure that `count` more bytes fit without a further allocation.
    @inlinable public mutating func reserve(_ count: Int) {
        if self.capacity - self.tail < count { self.makeRoom(count) }
    }

    @usableFromInline mutating func makeRoom(_ count: Int) {
        let used = self.readableBytes
        // Moving the bytes to the front is cheaper than growing when at least half of the block is consumed.
        if let base = self.base, used + count <= self.capacity, self.head >= self.capacity / 2 {
            memmove(base, base + self.head, used)
            self.head = 0
            self.tail = used
            return
        }
        var newCapacity = max(256, self.capacity * 2)
        while newCapacity < used + count { newCapacity *= 2 }
        let newBase = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
        if let base = self.base {
            memcpy(newBase, base + self.head, used)
            base.deallocate()
        }
        self.base = newBase
        self.capacity = newCapacity
        self.head = 0
        self.tail = used
    }
}
