/// Rules of topic filters (MQTT 5.0, sections 4.7 and 4.8): what a client subscribes to.
///
/// All functions work on the encoded bytes and allocate nothing. A wildcard counts as one only where the standard allows it;
/// in a filter that breaks the rules it stands for itself, and so matches no topic.
public enum TopicFilter {
    /// What a filter of SUBSCRIBE or UNSUBSCRIBE turned out to be. Ranges count from its first byte.
    public enum Parsed: Equatable, Sendable {
        case invalid
        case plain
        /// `$share/group/filter` (section 4.8.2).
        case shared(group: Range<Int>, filter: Range<Int>)
    }

    @usableFromInline static var separator: UInt8 { UInt8(ascii: "/") }
    @usableFromInline static var singleLevel: UInt8 { UInt8(ascii: "+") }
    @usableFromInline static var multiLevel: UInt8 { UInt8(ascii: "#") }

    /// Whether the filter may be subscribed to, as a shared subscription or a plain one.
    public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Self.parse(bytes) != .invalid
    }

    /// Checks a filter and finds the parts of a shared one.
    ///
    /// At least one character ([MQTT-4.7.3-1]), UTF-8 without U+0000 ([MQTT-4.7.3-2]), at most 65,535 bytes ([MQTT-4.7.3-3]),
    /// `#` alone in the last level ([MQTT-4.7.1-1]), `+` alone in its level ([MQTT-4.7.1-2]). After `$share/` a group name of
    /// at least one character without wildcards, a separator, and a filter ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
    public static func parse(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        guard bytes.count >= 1, bytes.count <= Int(UInt16.max), MQTTText.isValid(bytes) else { return .invalid }
        guard Self.hasSharePrefix(bytes) else { return Self.hasProperWildcards(bytes, from: 0) ? .plain : .invalid }
        let groupStart = 7
        var groupEnd = groupStart
        while groupEnd < bytes.count, bytes[groupEnd] != Self.separator {
            guard bytes[groupEnd] != Self.singleLevel, bytes[groupEnd] != Self.multiLevel else { return .invalid }
            groupEnd += 1
        }
        let filterStart = groupEnd + 1
        guard groupEnd > groupStart, filterStart < bytes.count, Self.hasProperWildcards(bytes, from: filterStart) else {
            return .invalid
        }
        return .shared(group: groupStart..<groupEnd, filter: filterStart..<bytes.count)
    }

    /// As `parse`, for SUBSCRIBE and UNSUBSCRIBE: an ill-formed filter makes the packet malformed ([MQTT-4.7.1-1],
    /// [MQTT-4.7.1-2], [MQTT-4.7.3-1]), one that is no more than an ill-formed share is a protocol error ([MQTT-4.8.2-1],
    /// [MQTT-4.8.2-2]). Code 0x8F would say that the filter is well-formed and not accepted (section 3.9.3).
    static func require(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> Parsed {
        let parsed = Self.parse(bytes)
        guard parsed == .invalid else { return parsed }
        guard bytes.count >= 1, Self.hasProperWildcards(bytes, from: 0) else {
            throw .malformed("topic filter is empty, or has a wildcard where none can be")
        }
        throw .protocolError("shared subscription without a proper group name and filter")
    }

    /// Whether the filter begins with `$share/`.
    public static func hasSharePrefix(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 7, bytes[0] == UInt8(ascii: "$") else { return false }
        let prefix: StaticString = "$share/"
        for index in 0..<7 where bytes[index] != prefix.utf8Start[index] { return false }
        return true
    }

    /// The filter that messages are compared with: without `$share/group/`, if the filter is a well-formed shared one.
    public static func withoutShare(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard Self.hasSharePrefix(bytes) else { return bytes }
        var index = 7
        while index < bytes.count, bytes[index] != Self.separator { index += 1 }
        guard index > 7, index + 1 < bytes.count else { return bytes }
        return UnsafeRawBufferPointer(rebasing: bytes[(index + 1)...])
    }

    /// Levels between the separators: `a/+/#` has three.
    public static func levelCount(_ bytes: UnsafeRawBufferPointer) -> Int {
        TopicName.levelCount(bytes)
    }

    private static func hasProperWildcards(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Bool {
        for index in start..<bytes.count {
            let byte = bytes[index]
            guard byte == Self.singleLevel || byte == Self.multiLevel else { continue }
            guard index == start || bytes[index - 1] == Self.separator else { return false }
            let isLast = index + 1 == bytes.count
            guard isLast || (byte == Self.singleLevel && bytes[index + 1] == Self.separator) else { return false }
        }
        return true
    }
}
