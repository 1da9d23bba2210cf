import Common
import Glibc

/// The receivers of one message on one link whose packets look alike, as the list of a multicast frame has them.
final class FanoutBucket {
    unowned(unsafe) var link: RouterLink
    var shape: PublishShape
    var layout: PublishLayout
    private(set) var count = 0
    private var capacity = 64
    private var entries: UnsafeMutableRawPointer

    init(_ link: RouterLink, _ shape: PublishShape, _ layout: PublishLayout) {
        self.link = link
        self.shape = shape
        self.layout = layout
        self.entries = .allocate(byteCount: 64 * MulticastFrame.entryBytes, alignment: 16)
    }

    deinit {
        self.entries.deallocate()
    }

    @inline(__always)
    func add(handle: UInt64, packetIdentifier: UInt16) {
        if self.count == self.capacity { self.grow() }
        let entry = self.entries + self.count * 10
        entry.storeBytes(of: handle.littleEndian, as: UInt64.self)
        entry.storeBytes(of: packetIdentifier.littleEndian, toByteOffset: 8, as: UInt16.self)
        self.count += 1
    }

    private func grow() {
        let larger = UnsafeMutableRawPointer.allocate(
            byteCount: self.capacity * 2 * MulticastFrame.entryBytes,
            alignment: 16
        )
        memcpy(larger, self.entries, self.count * MulticastFrame.entryBytes)
        self.entries.deallocate()
        self.entries = larger
        self.capacity *= 2
    }

    /// Writes the frames, and empties the list.
    func flush(_ view: MessageView) {
        guard self.count > 0 else { return }
        if self.count == 1 {
            let handle = UInt64(littleEndian: self.entries.loadUnaligned(as: UInt64.self))
            let identifier = self.entries.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
            self.link.writePublish(
                view,
                self.shape,
                self.layout,
                handle: handle,
                packetIdentifier: UInt16(littleEndian: identifier)
            )
        } else {
            var start = 0
            while start < self.count {
                let count = min(self.count - start, Limits.multicastSessionsMax)
                let list = UnsafeRawBufferPointer(start: self.entries + start * 10, count: count * 10)
                self.link.writeMulticast(view, self.shape, self.layout, list: list)
                start += count
            }
        }
        self.count = 0
        if self.capacity > 4096 {
            self.entries.deallocate()
            self.entries = .allocate(byteCount: 64 * MulticastFrame.entryBytes, alignment: 16)
            self.capacity = 64
        }
    }
}

/// The receivers of one message, gathered by what their packets look like: each shape is encoded once per link.
struct Fanout {
    /// Those beyond `used` are kept for their memory.
    private var buckets: [FanoutBucket] = []
    private var used = 0
    /// The one found last: most receivers are like the one before.
    private unowned(unsafe) var latest: FanoutBucket?

    /// The bucket of a shape, made if need be; nil when there are too many already.
    @inline(__always)
    mutating func bucket(
        _ link: RouterLink,
        _ shape: PublishShape,
        _ view: MessageView,
        now: Instant
    ) -> FanoutBucket? {
        if let latest = self.latest, latest.link === link, latest.shape.bits == shape.bits,
            latest.shape.identifier == shape.identifier
        {
            return latest
        }
        return self.find(link, shape, view, now: now)
    }

    @inline(never)
    private mutating func find(
        _ link: RouterLink,
        _ shape: PublishShape,
        _ view: MessageView,
        now: Instant
    ) -> FanoutBucket? {
        for bucket in self.buckets.prefix(self.used) {
            if bucket.link === link, bucket.shape.bits == shape.bits, bucket.shape.identifier == shape.identifier {
                self.latest = bucket
                return bucket
            }
        }
        guard self.used < RouterLimits.fanoutShapesMax else { return nil }
        let layout = PublishLayout(view, shape, now: now)
        if self.used == self.buckets.count {
            self.buckets.append(FanoutBucket(link, shape, layout))
        } else {
            self.buckets[self.used].link = link
            self.buckets[self.used].shape = shape
            self.buckets[self.used].layout = layout
        }
        self.used += 1
        self.latest = self.buckets[self.used - 1]
        return self.latest
    }

    /// Writes every bucket's packet to its link, and empties them all.
    mutating func flush(_ view: MessageView) {
        for bucket in self.buckets.prefix(self.used) { bucket.flush(view) }
        self.used = 0
        self.latest = nil
    }
}
