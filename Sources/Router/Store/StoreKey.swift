import Common

/// What a stored entry is about. Keys sort so that the entries of one session lie together, in the order they were made.
///
/// ```
///  's' session(8)                a session: see `RouterCore.encodeSession`
///  'u' session(8) number(4)      one of its subscriptions
///  'i' session(8) number(8)      a QoS 1 or 2 message on its way to it
///  'r' session(8) packet id(2)   a QoS 2 message that came from it and waits for PUBREL
///  't' topic                     the retained message of a topic
///  'm' number(8)                 a message, shared by all entries that name it
/// ```
/// Numbers are big-endian.
enum StoreKey {
    static var session: UInt8 { UInt8(ascii: "s") }
    static var subscription: UInt8 { UInt8(ascii: "u") }
    static var item: UInt8 { UInt8(ascii: "i") }
    static var received: UInt8 { UInt8(ascii: "r") }
    static var retained: UInt8 { UInt8(ascii: "t") }
    static var message: UInt8 { UInt8(ascii: "m") }

    /// The number of the message that a key names; nil for keys of other kinds.
    static func messageNumber(_ key: UnsafeRawBufferPointer) -> UInt64? {
        guard key.count == 9, key[0] == Self.message else { return nil }
        return key.loadUnaligned(fromByteOffset: 1, as: UInt64.self).bigEndian
    }
}
