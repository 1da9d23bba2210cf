import Common
import Glibc
import TestSupport

/// Programs of strangers' client libraries, made ready once per test process in the build folder.
enum ClientPrograms {
    /// Their sources: `Clients/` beside this file.
    private static let sources: String = {
        let file = #filePath
        return (file.lastIndex(of: "/").map { String(file[..<$0]) } ?? ".") + "/Clients"
    }()

    static func script(_ name: String) -> String { "\(self.sources)/\(name)" }

    /// Debian's Python, which sees Debian's paho-mqtt.
    static let python = "/usr/bin/python3"

    /// What pip installs; written down so that a changed list makes a new environment.
    private static let pythonPackages = ["gmqtt==0.7.0", "aiomqtt==2.5.1"]

    /// The Python of a virtual environment with the libraries that come from PyPI; or why there is none.
    static let environmentPython: Result<String, ProcessError> = {
        do {
            return .success(try ClientPrograms.makeEnvironment())
        } catch {
            return .failure(ProcessError(description: "\(error)"))
        }
    }()

    static var hasEnvironment: Bool {
        guard case .failure(let error) = self.environmentPython else { return true }
        print("the clients from PyPI are not tested: \(error)")
        return false
    }

    private static func makeEnvironment() throws -> String {
        let directory = try self.buildDirectory() + "/python-clients"
        let stamp = directory + "/packages"
        let wanted = Array(self.pythonPackages.joined(separator: "\n").utf8)
        let python = directory + "/bin/python"
        if let made = try? readFile(stamp), made == wanted { return python }
        try self.run(self.python, ["-m", "venv", "--clear", directory])
        let options = [
            "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2", "--timeout", "20",
        ]
        try self.run(python, options + self.pythonPackages)
        try writeFile(stamp, wanted)
        return python
    }

    /// The C program, compiled and linked with Debian's libpaho-mqtt.
    static func compilePaho(into directory: TemporaryDirectory) throws -> String {
        let program = directory.file("with_paho")
        try self.run(
            "gcc",
            ["-Wall", "-Werror", "-O1", "-o", program, self.script("with_paho.c"), "-lpaho-mqtt3cs"]
        )
        return program
    }

    /// Where the executables under test are.
    private static func buildDirectory() throws -> String {
        let executable = try TestBroker.executable("martlet-router")
        return executable.lastIndex(of: "/").map { String(executable[..<$0]) } ?? "."
    }

    private static func run(_ path: String, _ arguments: [String]) throws {
        let (status, output) = try runProcess(path, arguments: arguments)
        guard status == 0 else {
            throw ProcessError(description: "\(path) \(arguments.joined(separator: " ")): \(output)")
        }
    }
}
