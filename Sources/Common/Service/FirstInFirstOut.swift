/// A queue on one array: appended at the end, taken from the front, both in constant time on average.
public struct FirstInFirstOut<Element> {
    private var elements: [Element?] = []
    private var head = 0

    public init() {}

    public var count: Int { self.elements.count - self.head }
    public var isEmpty: Bool { self.count == 0 }
    public var first: Element? { self.head < self.elements.count ? self.elements[self.head] : nil }

    public mutating func append(_ element: Element) {
        self.elements.append(element)
    }

    public mutating func popFirst() -> Element? {
        guard self.head < self.elements.count else { return nil }
        let element = self.elements[self.head]
        self.elements[self.head] = nil
        self.head += 1
        if self.head == self.elements.count {
            self.elements.removeAll(keepingCapacity: self.elements.capacity <= 4096)
            self.head = 0
        } else if self.head >= 1024, self.head * 2 >= self.elements.count {
            self.elements.removeFirst(self.head)
            self.head = 0
        }
        return element
    }
}
