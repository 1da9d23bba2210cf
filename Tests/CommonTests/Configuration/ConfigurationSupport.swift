import Glibc
import TestSupport
import Testing

@testable import Common

/// The smallest configuration without mistakes: line 7 is the last.
let smallestConfiguration = """
    listeners:
      - name: devices
        tls: {}
    authorization:
      rules:
        default:
          - {allow: all, topics: ["devices/%C/#"]}

    """

func parseConfiguration(
    _ text: String,
    environment: [String: String] = [:],
    settings: [String] = []
) throws(ConfigurationError) -> Configuration {
    try Configuration.parse(
        Array(text.utf8),
        file: "m.yaml",
        baseDirectory: "/etc/martlet",
        environment: environment,
        settings: settings
    )
}

/// The error lines of a configuration with mistakes; empty when it has none.
func configurationMistakes(
    _ text: String,
    environment: [String: String] = [:],
    settings: [String] = []
) -> [String] {
    do {
        _ = try parseConfiguration(text, environment: environment, settings: settings)
        return []
    } catch {
        return error.lines
    }
}

/// The documented example.
func documentedConfiguration() throws -> String {
    try repositoryFile("deploy/martlet.yaml")
}
