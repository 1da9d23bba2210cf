/// The first byte of a key in the router's store.
enum StoreEntryKind {
    static let session = UInt8(ascii: "s")
    static let subscription = UInt8(ascii: "u")
    static let item = UInt8(ascii: "i")
    static let received = UInt8(ascii: "r")
    static let retained = UInt8(ascii: "t")
    static let message = UInt8(ascii: "m")

    static let all = [message, session, subscription, item, received, retained]
}
