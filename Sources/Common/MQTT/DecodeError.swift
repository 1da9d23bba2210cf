/// Why bytes are not a packet: the reason code that MQTT 5.0 wants for it, and a sentence for the log.
package struct DecodeError: Error, Sendable, CustomStringConvertible {
    /// `malformedPacket`, `protocolError`, `packetTooLarge`, `unsupportedProtocolVersion`, `topicNameInvalid`, …
    package var reasonCode: ReasonCode
    package var explanation: StaticString

    @inlinable package init(_ reasonCode: ReasonCode, _ explanation: StaticString) {
        self.reasonCode = reasonCode
        self.explanation = explanation
    }

    package static func malformed(_ explanation: StaticString) -> DecodeError {
        DecodeError(.malformedPacket, explanation)
    }

    package static func protocolError(_ explanation: StaticString) -> DecodeError {
        DecodeError(.protocolError, explanation)
    }

    package var description: String { self.explanation.description }
}

extension DecodeError: Equatable {
    /// Equality is on the code: the sentence is for people.
    package static func == (left: DecodeError, right: DecodeError) -> Bool { left.reasonCode == right.reasonCode }
}
