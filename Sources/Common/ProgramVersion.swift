/// The version of all programs of one build.
public enum ProgramVersion {
    public static let text: StaticString = "0.1.0"
}
