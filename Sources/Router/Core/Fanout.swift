import Common

/// The receivers of one message, gathered by what their packets look like: each shape is encoded once per link.
struct Fanout: ~Copyable {
    struct Target: BitwiseCopyable {
        var handle: UInt64
        var packetIdentifier: UInt16
    }

    struct Bucket {
        unowned(unsafe) var link: RouterLink
        var shape: PublishShape
        var layout: PublishLayout
        var targets: [Target] = []
    }

    /// Those beyond `used` are kept for their memory.
    private(set) var buckets: [Bucket] = []
    private(set) var used = 0

    init() {}

    /// The bucket of a shape, made if need be; nil when there are too many already.
    @inline(__always)
    mutating func bucket(_ link: RouterLink, _ shape: PublishShape, _ view: MessageView, now: Instant) -> Int? {
        var index = 0
        while index < self.used {
            if self.buckets[index].link === link, self.buckets[index].shape.bits == shape.bits,
                self.buckets[index].shape.identifier == shape.identifier
            {
                return index
            }
            index += 1
        }
        return self.makeBucket(link, shape, view, now: now)
    }

    private mutating func makeBucket(
        _ link: RouterLink,
        _ shape: PublishShape,
        _ view: MessageView,
        now: Instant
    ) -> Int? {
        guard self.used < RouterLimits.fanoutShapesMax else { return nil }
        let layout = PublishLayout(view, shape, now: now)
        if self.used == self.buckets.count {
            self.buckets.append(Bucket(link: link, shape: shape, layout: layout))
        } else {
            self.buckets[self.used].link = link
            self.buckets[self.used].shape = shape
            self.buckets[self.used].layout = layout
        }
        self.used += 1
        return self.used - 1
    }

    @inline(__always)
    mutating func add(_ target: Target, to bucket: Int) {
        self.buckets[bucket].targets.append(target)
    }

    /// Writes every bucket's packet to its link, and empties them all.
    mutating func flush(_ view: MessageView) {
        for index in 0..<self.used {
            self.write(index, view)
            self.buckets[index].targets.removeAll(keepingCapacity: true)
        }
        self.used = 0
    }

    private mutating func write(_ index: Int, _ view: MessageView) {
        let count = self.buckets[index].targets.count
        guard count > 0 else { return }
        let link = self.buckets[index].link
        let shape = self.buckets[index].shape
        let layout = self.buckets[index].layout
        if count == 1 {
            let target = self.buckets[index].targets[0]
            link.writePublish(
                view,
                shape,
                layout,
                handle: target.handle,
                packetIdentifier: target.packetIdentifier
            )
            return
        }
        var start = 0
        while start < count {
            let end = min(count, start + Limits.multicastSessionsMax)
            link.writeMulticast(view, shape, layout, targets: self.buckets[index].targets[start..<end])
            start = end
        }
    }
}

extension RouterLink {
    /// A whole PUBLISH for one session.
    @inline(__always)
    func writePublish(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        handle: UInt64,
        packetIdentifier: UInt16
    ) {
        self.beginDeliver(handle: handle, flags: FrameFlags.debitsCredit, bytes: layout.packetBytes)
        self.output.writePublish(view, shape, layout, packetIdentifier: packetIdentifier)
    }

    func writeMulticast(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        targets: ArraySlice<Fanout.Target>
    ) {
        let listBytes = MulticastFrame.prefixBytes + targets.count * MulticastFrame.entryBytes
        self.output.writeFrameHeader(.sessionMulticast, handle: 0, bodyBytes: listBytes + layout.packetBytes)
        let offsetPosition = self.output.readableBytes
        self.output.writeMulticastList(targets)
        let offset = self.output.writePublish(view, shape, layout, packetIdentifier: 0)
        self.output.setLittleEndian(UInt32(truncatingIfNeeded: offset), at: offsetPosition)
    }
}

extension ByteBuffer {
    /// A whole PUBLISH.
    /// - Returns: where in the packet the packet id is; 0 with QoS 0.
    @discardableResult
    mutating func writePublish(
        _ view: MessageView,
        _ shape: PublishShape,
        _ layout: PublishLayout,
        packetIdentifier: UInt16
    ) -> Int {
        self.reserve(layout.packetBytes)
        let offset = self.writePublishHead(view, shape, layout, packetIdentifier: packetIdentifier)
        self.write(view.payload)
        return offset
    }

    mutating func writeMulticastList(_ targets: ArraySlice<Fanout.Target>) {
        self.reserve(MulticastFrame.prefixBytes + targets.count * MulticastFrame.entryBytes)
        self.writeLittleEndian(0 as UInt32)
        self.writeLittleEndian(UInt32(truncatingIfNeeded: targets.count))
        for target in targets {
            self.writeLittleEndian(target.handle)
            self.writeLittleEndian(target.packetIdentifier)
        }
    }
}
