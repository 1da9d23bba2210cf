/// Spans of time in which changes of rows were told without a gap. A row that was fetched in one of them is what Redis held until its end:
/// a change would have been told, and the row been marked.
///
/// ```
///       fetched  ──────────▶ known current until here
///  ────┤   ▼                 ├───────────┤                  ├──▶ time
///      began               until   gap   began            until
/// ```
package struct ToldSpans: Equatable, Sendable {
    package struct Span: Equatable, Sendable {
        package var began: Int64
        package var until: Int64

        package init(began: Int64, until: Int64) {
            self.began = began
            self.until = until
        }
    }

    /// Older ones are forgotten: what was fetched in them counts from then.
    static let spansMax = 256

    /// In the order of time; there is a gap between any two.
    package private(set) var spans: [Span] = []
    package private(set) var isOpen = false

    package init() {}

    /// Of several workers: it is enough that one of them was told.
    package init(_ spans: [Span]) {
        for span in spans.sorted(by: { $0.began < $1.began }) where span.began <= span.until {
            if let last = self.spans.last, span.began <= last.until {
                self.spans[self.spans.count - 1].until = max(last.until, span.until)
            } else {
                self.append(span)
            }
        }
    }

    private mutating func append(_ span: Span) {
        self.spans.append(span)
        if self.spans.count > Self.spansMax { self.spans.removeFirst() }
    }

    /// What changes from now on is told.
    package mutating func begin(at moment: Int64) {
        guard !self.isOpen else { return }
        self.isOpen = true
        self.append(Span(began: moment, until: moment))
    }

    /// What has changed before this moment was told, by all who tell.
    package mutating func extend(until moment: Int64) {
        guard self.isOpen, let last = self.spans.last, moment > last.until else { return }
        self.spans[self.spans.count - 1].until = moment
    }

    package mutating func end() {
        self.isOpen = false
    }

    /// Up to when it is known that what was current at this moment did not change.
    package func end(of moment: Int64) -> Int64 {
        guard let span = self.spans.last(where: { $0.began <= moment }) else { return moment }
        return max(moment, span.until)
    }
}
