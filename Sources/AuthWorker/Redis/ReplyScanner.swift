/// Finds where replies of Redis end (RESP2), without taking them apart or keeping them.
struct ReplyScanner {
    enum Finding: Equatable {
        /// The bytes are over, the reply is not.
        case more
        /// The reply ends here.
        case ended
        /// The reply is longer than what is taken, and not over. Told once for each.
        case tooLong
        case failed(String)
    }

    private enum Part {
        /// The first byte of a reply or element.
        case kind
        /// Text up to the end of the line.
        case line
        /// The length of a string or an array.
        case length
        case content
    }

    private var part = Part.kind
    /// Elements of the reply that are not over, itself among them.
    private var elements = 0
    /// Bytes of the reply so far.
    private var bytes = 0
    private var isLong = false
    private var isArray = false
    private var length = 0
    private var digits = 0
    private var isNegative = false
    private var hasReturn = false
    /// Bytes of a string and the end of its line, that are still to come.
    private var content = 0

    private static let digitsMax = 10

    init() {}

    /// Goes on at `position`, and leaves there where it came to.
    mutating func scan(_ input: UnsafeRawBufferPointer, _ position: inout Int) -> Finding {
        while position < input.count {
            let start = position
            var isOver = false
            switch self.part {
            case .kind:
                guard self.begin(input[position]) else { return .failed("a reply begins with byte \(input[position])") }
                position += 1
            case .line:
                isOver = self.goThroughLine(input, &position)
            case .length:
                guard let isEmpty = self.takeLength(input[position]) else { return .failed("a length is no number") }
                isOver = isEmpty
                position += 1
            case .content:
                let count = min(self.content, input.count - position)
                position += count
                self.content -= count
                isOver = self.content == 0
            }
            self.bytes += position - start
            if isOver {
                self.part = .kind
                self.elements -= 1
                if self.elements == 0 { return .ended }
            }
            // An element has four bytes at least.
            let least = max(self.bytes + self.content, self.elements * 4)
            guard least <= AuthLimits.replyBytesPassedMax else {
                return .failed("a reply is longer than \(AuthLimits.replyBytesPassedMax) bytes")
            }
            if !self.isLong,
                self.isArray && self.length > AuthLimits.replyElementsMax && self.part == .kind
                    || self.bytes + self.content > AuthLimits.replyBytesMax
            {
                self.isLong = true
                return .tooLong
            }
        }
        return .more
    }

    private mutating func begin(_ kind: UInt8) -> Bool {
        if self.elements == 0 {
            self.elements = 1
            self.bytes = 0
            self.isLong = false
        }
        self.hasReturn = false
        self.isArray = kind == UInt8(ascii: "*")
        switch kind {
        case UInt8(ascii: "$"), UInt8(ascii: "*"):
            self.part = .length
            self.length = 0
            self.digits = 0
            self.isNegative = false
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":"):
            self.part = .line
        default:
            return false
        }
        return true
    }

    /// True: it ends here.
    private mutating func goThroughLine(_ input: UnsafeRawBufferPointer, _ position: inout Int) -> Bool {
        // No further than shows that it is too long.
        let most = self.isLong ? Int.max : max(1, AuthLimits.replyBytesMax + 1 - self.bytes)
        let end = position + min(most, input.count - position)
        while position < end {
            let byte = input[position]
            position += 1
            if byte == UInt8(ascii: "\n"), self.hasReturn { return true }
            self.hasReturn = byte == UInt8(ascii: "\r")
        }
        return false
    }

    /// True: the element is over with its length. Nil: it has none.
    private mutating func takeLength(_ byte: UInt8) -> Bool? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9") where self.digits < Self.digitsMax && !self.hasReturn:
            self.length = self.length * 10 + Int(byte - UInt8(ascii: "0"))
            self.digits += 1
            return false
        case UInt8(ascii: "-") where self.digits == 0 && !self.isNegative:
            self.isNegative = true
            return false
        case UInt8(ascii: "\r") where self.digits > 0 && !self.hasReturn:
            self.hasReturn = true
            return false
        case UInt8(ascii: "\n") where self.hasReturn:
            break
        default:
            return nil
        }
        if self.isNegative {
            // Null.
            let isNull = self.length == 1
            self.length = 0
            return isNull ? true : nil
        }
        if self.isArray {
            self.elements += self.length
            self.part = .kind
            return true
        }
        self.content = self.length + 2
        self.part = .content
        return false
    }
}
