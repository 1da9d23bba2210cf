/// What a stored entry is about. Keys sort so that the entries of one session lie together, in the order they were made.
///
/// ```
///  's' session(8)                a session: `StoredSession`
///  'u' session(8) number(4)      one of its subscriptions: `StoredSubscription`
///  'i' session(8) number(8)      a QoS 1 or 2 message on its way to it: `StoredItem`
///  'r' session(8) packet id(2)   a QoS 2 message that came from it and waits for PUBREL
///  'c' session(8) exchange(8)    such a message that went on; its publisher's listener may not know yet
///  't' topic                     the retained message of a topic
///  'm' number(8)                 a message, shared by all entries that name it: `StoredMessage`
/// ```
/// Numbers are big-endian. The value of 'r' and 't' is the number of a message (8 bytes, little-endian; 0 for 'r': none); 'c' has none.
package enum StoreKey {
    package static var session: UInt8 { UInt8(ascii: "s") }
    package static var subscription: UInt8 { UInt8(ascii: "u") }
    package static var item: UInt8 { UInt8(ascii: "i") }
    package static var received: UInt8 { UInt8(ascii: "r") }
    package static var completed: UInt8 { UInt8(ascii: "c") }
    package static var retained: UInt8 { UInt8(ascii: "t") }
    package static var message: UInt8 { UInt8(ascii: "m") }

    /// In an order in which what an entry names comes before it.
    package static var all: [UInt8] {
        [Self.message, Self.session, Self.subscription, Self.item, Self.received, Self.completed, Self.retained]
    }

    /// The number of the message that a key names; nil for keys of other kinds.
    package static func messageNumber(_ key: UnsafeRawBufferPointer) -> UInt64? {
        guard key.count == 9, key[0] == Self.message else { return nil }
        return Self.number(key)
    }

    package static func message(_ number: UInt64) -> [UInt8] {
        [Self.message] + withUnsafeBytes(of: number.bigEndian) { [UInt8]($0) }
    }

    /// Eight bytes of a key as a number; nil where it is shorter.
    package static func number(_ key: UnsafeRawBufferPointer, at offset: Int = 1) -> UInt64? {
        guard key.count >= offset + 8 else { return nil }
        return key.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
    }
}
