/// Rules of topic names (MQTT 5.0, section 4.7): what a message is published to.
public enum TopicName {
    /// At least one character ([MQTT-4.7.3-1]), no wildcards ([MQTT-3.3.2-2]), an UTF-8 string without U+0000
    /// ([MQTT-4.7.3-2]) of at most 65,535 bytes ([MQTT-4.7.3-3]).
    public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 1 && bytes.count <= Int(UInt16.max) && !Self.hasWildcard(bytes) && MQTTText.isValid(bytes)
    }

    /// Whether a `+` or `#` is anywhere in it.
    public static func hasWildcard(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for byte in bytes where byte == UInt8(ascii: "+") || byte == UInt8(ascii: "#") { return true }
        return false
    }

    /// Whether a topic or filter is of the broker's own, below `$SYS`.
    public static func isSystem(_ bytes: UnsafeRawBufferPointer) -> Bool { Self.hasFirstLevel(bytes, "$SYS") }

    public static func hasFirstLevel(_ bytes: UnsafeRawBufferPointer, _ level: StaticString) -> Bool {
        let count = level.utf8CodeUnitCount
        guard bytes.count >= count, bytes.count == count || bytes[count] == UInt8(ascii: "/") else { return false }
        for index in 0..<count where bytes[index] != level.utf8Start[index] { return false }
        return true
    }

    /// Levels between the separators: `a//b` has three, one of them empty.
    public static func levelCount(_ bytes: UnsafeRawBufferPointer) -> Int {
        var count = 1
        for byte in bytes where byte == UInt8(ascii: "/") { count += 1 }
        return count
    }
}
