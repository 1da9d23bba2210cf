/// Quality of service (MQTT 5.0, section 4.3).
public enum QoS: UInt8, Sendable, CaseIterable, Comparable, BitwiseCopyable {
    case atMostOnce = 0
    case atLeastOnce = 1
    case exactlyOnce = 2

    @inlinable public static func < (left: QoS, right: QoS) -> Bool { left.rawValue < right.rawValue }
}
