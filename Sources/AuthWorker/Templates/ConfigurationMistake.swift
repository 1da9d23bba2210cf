/// A mistake in the configuration that only the auth worker can see, as a sentence for whoever wrote it.
package struct ConfigurationMistake: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
