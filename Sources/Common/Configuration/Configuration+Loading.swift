import Glibc

extension Configuration {
    /// A configuration of 1,000 listeners has some 500 KiB.
    public static let fileBytesMax = 4 * 1024 * 1024

    /// Reads a file, with environment variables (`MARTLET_LOG__LEVEL=debug`) and settings (`log.level=debug`, as given to
    /// `--set`) over it: settings win over variables, variables over the file.
    ///
    /// - Throws: all mistakes at once. Whether the files that it names are there is `check()`'s business.
    public static func load(
        file: String,
        environment: [String: String] = ProcessEnvironment.current(),
        settings: [String] = []
    ) throws(ConfigurationError) -> Configuration {
        let bytes: [UInt8]
        do {
            bytes = try Self.readFile(file, bytesMax: Self.fileBytesMax)
        } catch {
            let problem = ConfigurationError.Problem(origin: nil, key: "", message: error.message)
            throw ConfigurationError(file: file, problems: [problem])
        }
        return try Self.parse(
            bytes,
            file: file,
            baseDirectory: Self.directory(of: file),
            environment: environment,
            settings: settings
        )
    }

    /// The same from text in memory.
    ///
    /// - Parameters:
    ///   - file: the name that messages begin with.
    ///   - baseDirectory: what relative paths count from.
    public static func parse(
        _ text: [UInt8],
        file: String,
        baseDirectory: String,
        environment: [String: String] = [:],
        settings: [String] = []
    ) throws(ConfigurationError) -> Configuration {
        let (configuration, reading) = Self.read(
            text,
            baseDirectory: baseDirectory,
            environment: environment,
            settings: settings
        )
        guard let configuration, reading.problems.isEmpty else {
            throw ConfigurationError(file: file, problems: ConfigurationError.inOrder(reading.problems))
        }
        return configuration
    }

    /// The keys of the file's top level: what a variable without double underscores may name.
    static let topLevelKeys = [
        "runtime_directory", "state_directory", "durability", "processes", "bans_file", "link_users", "log",
        "listeners",
        "authentication",
        "authorization", "mqtt", "flow_control",
    ]

    /// The configuration, nil when the text could not be read as YAML, and what was found on the way.
    static func read(
        _ text: [UInt8],
        baseDirectory: String,
        environment: [String: String],
        settings: [String]
    ) -> (configuration: Configuration?, reading: ConfigurationReading) {
        let reading = ConfigurationReading(baseDirectory: baseDirectory)
        var root: YAMLNode?
        do {
            let (found, duplicates) = try YAMLReader.read(text)
            root = found
            reading.problems += duplicates
        } catch {
            reading.problems.append(error)
            return (nil, reading)
        }
        let variables = ConfigurationOverride.parse(environment: environment, topLevelKeys: Self.topLevelKeys)
        reading.problems += variables.problems
        for override in variables.overrides { override.apply(to: &root, reading) }
        for setting in settings {
            do {
                try ConfigurationOverride.parse(setting: setting).apply(to: &root, reading)
            } catch {
                reading.problems.append(error)
            }
        }
        var configuration = Configuration(reading: root, into: reading)
        configuration.written = WrittenValues(root)
        return (configuration, reading)
    }

    /// The folder of a file, absolute.
    private static func directory(of file: String) -> String {
        let directory = PathText.folder(of: file)
        guard let resolved = realpath(directory, nil) else { return directory }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// All of a file.
    ///
    /// - Parameter isKeptFromOthers: a file that every user of the host may use is refused.
    /// - Throws: why not, as the end of a sentence that begins with the file's name.
    public static func readFile(
        _ path: String,
        bytesMax: Int,
        isKeptFromOthers: Bool = false
    ) throws(ValueError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw ValueError("not readable: \(Self.describe(errno))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw ValueError("not readable: \(Self.describe(errno))") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw ValueError("not readable: not a regular file") }
        if isKeptFromOthers, status.st_mode & 0o007 != 0 {
            throw ValueError("every user of this host may use it; chmod o= \(path)")
        }
        var bytes: [UInt8] = []
        while true {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw ValueError("not readable: \(Self.describe(errno))") }
            if count == 0 { return bytes }
            bytes += chunk.prefix(count)
            guard bytes.count <= bytesMax else {
                throw ValueError("larger than \(SizeText.describe(bytes: bytesMax)), the most that is read")
            }
        }
    }

    /// The system's words for an error number.
    public static func describe(_ errorNumber: Int32) -> String {
        strerror(errorNumber).map { String(cString: $0) } ?? "error \(errorNumber)"
    }

    /// Of a role's file that another program cannot read: why, and who can.
    public static func unreadable(_ path: String, _ errorNumber: Int32) -> String {
        let advice = errorNumber == EACCES ? "; run it as root, or as the user of the role whose file it is" : ""
        return "cannot read \(path): \(Self.describe(errorNumber))\(advice)"
    }
}
