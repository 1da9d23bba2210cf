/// A growing array of plain values in blocks of fixed size: growth never copies what is there, so that the millionth
/// subscription stalls nobody, and never holds more than one block too many.
struct ChunkedArray<Element: BitwiseCopyable>: ~Copyable {
    private static var shift: Int { 10 }
    private static var chunkCount: Int { 1 << Self.shift }

    private var chunks: [UnsafeMutablePointer<Element>] = []
    /// Elements appended so far.
    private(set) var count = 0

    init() {}

    deinit {
        for chunk in self.chunks { chunk.deallocate() }
    }

    var heldBytes: Int {
        self.chunks.count * Self.chunkCount * MemoryLayout<Element>.stride
            + self.chunks.capacity * MemoryLayout<UnsafeMutablePointer<Element>>.stride
    }

    subscript(index: UInt32) -> Element {
        @inline(__always)
        _read { yield self.chunks[Int(index) >> Self.shift][Int(index) & (Self.chunkCount - 1)] }
        @inline(__always)
        _modify { yield &self.chunks[Int(index) >> Self.shift][Int(index) & (Self.chunkCount - 1)] }
    }

    mutating func append(_ element: Element) {
        if self.count == self.chunks.count << Self.shift {
            self.chunks.append(UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkCount))
        }
        self.chunks[self.count >> Self.shift].advanced(by: self.count & (Self.chunkCount - 1)).initialize(to: element)
        self.count += 1
    }

    /// Forgets all elements and gives their memory back.
    mutating func removeAll() {
        for chunk in self.chunks { chunk.deallocate() }
        self.chunks = []
        self.count = 0
    }
}
