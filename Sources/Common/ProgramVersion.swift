/// The version of all programs of one build.
package enum ProgramVersion {
    package static let text: StaticString = "0.1.0"
}
