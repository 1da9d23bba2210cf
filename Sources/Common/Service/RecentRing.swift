/// The last so many of something.
public struct RecentRing<Element> {
    private var elements: [Element] = []
    private var next = 0
    private let capacity: Int

    public init(capacity: Int) {
        precondition(capacity > 0, "a ring holds something")
        self.capacity = capacity
    }

    public mutating func append(_ element: Element) {
        if self.elements.count < self.capacity {
            self.elements.append(element)
        } else {
            self.elements[self.next] = element
            self.next = (self.next + 1) % self.capacity
        }
    }

    public var newestFirst: [Element] {
        (Array(self.elements[self.next...]) + Array(self.elements[..<self.next])).reversed()
    }
}
