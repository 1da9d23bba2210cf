/// Walks over the levels of a topic or filter: what stands between slashes, empty levels included.
struct LevelSplitter {
    private let text: UnsafeRawBufferPointer
    private var position = 0

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    @inline(__always)
    mutating func next() -> UnsafeRawBufferPointer? {
        let count = self.text.count
        guard self.position <= count else { return nil }
        guard let start = self.text.baseAddress else {
            self.position = 1
            return self.text
        }
        var end = self.position
        while end < count, start.load(fromByteOffset: end, as: UInt8.self) != 0x2F { end += 1 }
        let level = UnsafeRawBufferPointer(start: start + self.position, count: end - self.position)
        self.position = end + 1
        return level
    }
}
