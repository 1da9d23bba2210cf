/// Walks over the levels of a topic or filter: what stands between slashes, empty levels included.
struct LevelSplitter {
    private let text: UnsafeRawBufferPointer
    private var position = 0

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    @inline(__always)
    mutating func next() -> UnsafeRawBufferPointer? {
        guard self.position <= self.text.count else { return nil }
        var end = self.position
        while end < self.text.count, self.text[end] != 0x2F { end += 1 }
        let level = UnsafeRawBufferPointer(rebasing: self.text[self.position..<end])
        self.position = end + 1
        return level
    }
}
