/// Why bytes are not a packet: the reason code that MQTT 5.0 wants for it, and a sentence for the log.
public struct DecodeError: Error, Sendable, CustomStringConvertible {
    /// `malformedPacket`, `protocolError`, `packetTooLarge`, `unsupportedProtocolVersion`, `topicNameInvalid`, …
    public var reasonCode: ReasonCode
    public var explanation: StaticString
    /// The connection is closed without CONNACK or DISCONNECT: the peer does not speak MQTT any more, has said itself that it
    /// is going, or has sent broken credentials, of which it learns nothing. An answer is never more than a SHOULD
    /// (section 4.13.1).
    public var closesSilently: Bool

    @inlinable public init(_ reasonCode: ReasonCode, _ explanation: StaticString, closesSilently: Bool = false) {
        self.reasonCode = reasonCode
        self.explanation = explanation
        self.closesSilently = closesSilently
    }

    public static func malformed(_ explanation: StaticString) -> DecodeError {
        DecodeError(.malformedPacket, explanation)
    }

    public static func protocolError(_ explanation: StaticString) -> DecodeError {
        DecodeError(.protocolError, explanation)
    }

    public var description: String { self.explanation.description }
}

extension DecodeError: Equatable {
    /// Equality is on the code: the sentence is for people.
    public static func == (left: DecodeError, right: DecodeError) -> Bool { left.reasonCode == right.reasonCode }
}
