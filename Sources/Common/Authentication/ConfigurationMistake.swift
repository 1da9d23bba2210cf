/// A mistake in the settings of authentication, as a sentence for whoever wrote it.
package struct ConfigurationMistake: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String
    /// The sentence without the key that it is about.
    package let reason: String

    package init(_ description: String) {
        self.description = description
        self.reason = description
    }

    /// - Parameter subject: the key, and its value as written.
    package init(subject: String, reason: String) {
        self.description = "\(subject): \(reason)"
        self.reason = reason
    }
}
