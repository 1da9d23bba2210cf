/// All that is wrong with a configuration, each with the place where it was written.
public struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    public struct Problem: Error, Equatable {
        /// Nil: the file as a whole.
        public var origin: ConfigurationOrigin?
        /// `listeners.0.tls.key_file`; empty for the file as a whole.
        public var key: String
        /// What is wrong and what would be right.
        public var message: String
        /// Martlet would run with it.
        public var isWarning = false
        /// Of what an auth worker needs for a source of authentication: the roles start all the same, and serve as they do while the
        /// source is away.
        public var isOutageOfSource = false
    }

    /// The file's name as it was given.
    public var file: String
    /// In the order of the file, then of variables and flags. Never empty.
    public var problems: [Problem]

    public init(file: String, problems: [Problem]) {
        self.file = file
        self.problems = problems
    }

    /// One line a problem: `FILE:LINE:COLUMN: key.path: what is wrong`, with `warning: ` before the key where it is no more.
    public var lines: [String] {
        self.problems.map { problem in
            let key = (problem.isWarning ? "warning: " : "") + (problem.key.isEmpty ? "" : "\(problem.key): ")
            switch problem.origin {
            case .file(let line, let column): return "\(self.file):\(line):\(column): \(key)\(problem.message)"
            case .environment(let name): return "\(name): \(key)\(problem.message)"
            case .flag(let path): return "--set \(path): \(key)\(problem.message)"
            case nil: return "\(self.file): \(key)\(problem.message)"
            }
        }
    }

    public var description: String {
        self.lines.joined(separator: "\n")
    }

    /// In the order in which somebody goes through the file.
    static func inOrder(_ problems: [Problem]) -> [Problem] {
        func rank(_ problem: Problem) -> (Int, Int, Int) {
            switch problem.origin {
            case nil: return (0, 0, 0)
            case .file(let line, let column): return (1, line, column)
            case .environment: return (2, 0, 0)
            case .flag: return (3, 0, 0)
            }
        }
        return problems.enumerated().sorted { left, right in
            let (leftRank, rightRank) = (rank(left.element), rank(right.element))
            return leftRank == rightRank ? left.offset < right.offset : leftRank < rightRank
        }.map(\.element)
    }
}

/// Why a text is not a duration, size, address and so on: the end of a sentence that begins with the key.
public struct ValueError: Error, Equatable {
    public var message: String

    init(_ message: String) {
        self.message = message
    }
}
