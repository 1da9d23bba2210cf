import Common
import FuzzSupport

// Feeds arbitrary text to the reader of the configuration: as the file, as a setting and as a variable. It either gives a
// configuration or says what is wrong, where. Run it with `make fuzz`.

@main struct ConfigurationFuzzer {
    static func main() { runFuzzer(fuzzConfiguration) }
}

private func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    // Up to the first zero byte the file, then settings.
    let parts = bytes.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
    let file = parts.first.map { [UInt8]($0) } ?? []
    let settings = parts.dropFirst().prefix(1).map { String(decoding: $0, as: UTF8.self) }
    var environment: [String: String] = [:]
    for part in parts.dropFirst(2) {
        let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(decoding: pair[0], as: UTF8.self)
        environment["MARTLET_" + name] = pair.count > 1 ? String(decoding: pair[1], as: UTF8.self) : ""
    }
    do throws(ConfigurationError) {
        let configuration = try Configuration.parse(
            file,
            file: "fuzz.yaml",
            baseDirectory: "/etc/martlet",
            environment: environment,
            settings: settings
        )
        precondition(!configuration.listeners.isEmpty, "a configuration without listeners was taken")
        for set in configuration.authorization.ruleSets {
            _ = try? RuleTemplate(set, noMatch: configuration.authorization.noMatch)
        }
    } catch {
        precondition(!error.problems.isEmpty, "refused without a reason")
        for problem in error.problems { precondition(!problem.message.isEmpty, "a problem without words") }
        precondition(!error.description.isEmpty, "an error without words")
    }
    return 0
}
