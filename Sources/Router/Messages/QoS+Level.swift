import Common

// Comparisons through `Comparable` are generic calls into another module; a switch becomes one instruction.
extension QoS {
    /// 0, 1 or 2.
    @inline(__always) var level: UInt8 {
        switch self {
        case .atMostOnce: 0
        case .atLeastOnce: 1
        case .exactlyOnce: 2
        }
    }

    /// The lowest two bits; 3 does not occur.
    @inline(__always)
    init(level: UInt8) {
        switch level & 3 {
        case 0: self = .atMostOnce
        case 1: self = .atLeastOnce
        default: self = .exactlyOnce
        }
    }

    /// Needs an acknowledgement, and so a packet id.
    @inline(__always) var isAcknowledged: Bool { self.level != 0 }

    @inline(__always)
    static func lower(_ left: QoS, _ right: QoS) -> QoS { left.level < right.level ? left : right }
}
