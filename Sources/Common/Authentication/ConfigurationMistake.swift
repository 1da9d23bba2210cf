/// A mistake in the settings of authentication, as a sentence for whoever wrote it.
public struct ConfigurationMistake: Error, Equatable, CustomStringConvertible, Sendable {
    public let description: String
    /// The sentence without the key that it is about.
    public let reason: String

    public init(_ description: String) {
        self.description = description
        self.reason = description
    }

    /// - Parameter subject: the key, and its value as written.
    public init(subject: String, reason: String) {
        self.description = "\(subject): \(reason)"
        self.reason = reason
    }
}
