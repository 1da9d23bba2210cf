/// Paths as texts. Byte by byte, for Swift takes a slash and a combining character after it for one character.
public enum PathText {
    private static let slash = UInt8(ascii: "/")

    /// The folder that the file is in, as `dirname` says it: `.` for a name alone.
    public static func folder(of path: String) -> String {
        guard let end = path.utf8.lastIndex(of: Self.slash) else { return "." }
        return end == path.startIndex ? "/" : String(path[..<end])
    }

    /// What it is called in its folder.
    public static func name(of path: String) -> String {
        path.utf8.lastIndex(of: Self.slash).map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }
}
